"""What runs inside the cluster. Imports nothing but RayLLM, the standard library and what ray[serve] declares."""
