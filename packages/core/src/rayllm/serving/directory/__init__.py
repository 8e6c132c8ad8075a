"""Who serves what, right now: the directory, and how replicas keep their place in it."""
