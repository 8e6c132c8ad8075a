"""A Ray cluster on this machine for RayLLM."""
