"""Core's own plugin."""
