"""The YAML file: read with positions, checked in one pass."""
