"""Job 1: the project's files from git, and RayLLM's packages."""

from rayllm_backend_cai.inside import sync

sync()
