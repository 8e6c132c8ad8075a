"""vLLM for RayLLM."""
