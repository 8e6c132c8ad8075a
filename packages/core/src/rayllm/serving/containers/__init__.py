"""Engines in container images: finding podman or docker, fetching an image, running it, leaving nothing behind."""
