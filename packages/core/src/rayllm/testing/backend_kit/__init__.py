"""What `BackendConformance` is made of: a process that can be killed at any platform call, and what it told."""
