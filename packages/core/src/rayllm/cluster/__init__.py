"""Talking to a Ray cluster over HTTP."""
