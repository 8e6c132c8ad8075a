"""What a node needs before an engine can start: the engine's own Python environment."""
