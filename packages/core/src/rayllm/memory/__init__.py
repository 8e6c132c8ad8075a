"""How much memory a model takes: from its own files, the engine's settings and the shape of a replica. Pure."""
