"""A model's files as the operator's side sees them: sizes, settings and headers, never the weights."""
