"""Fakes and checks for tests of RayLLM and of its plugins."""
