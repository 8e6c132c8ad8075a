"""From a `source:` to a model's folder on the node that serves."""
