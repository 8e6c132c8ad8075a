"""What goes with a model's `image:`, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayllm.config.asked import nodes_of
from rayllm.config.document import Document, KeyPath


def check_image(document: Document, path: KeyPath, model: Mapping[str, Any]) -> None:
    """Note what of `model`, the block at `path`, can't be where the engine comes in an image."""
    if not model.get("image"):
        return
    if model.get("environment", "auto") != "auto":
        message = "image and environment exclude each other: an image holds the engine"
        document.problem((*path, "environment"), message, cure="leave one of them out")
    if model.get("version") is not None:
        message = "image and version exclude each other: an image holds one version of the engine"
        document.problem((*path, "version"), message, cure="leave version out, and choose by the image's tag")
    source = model.get("source")
    if isinstance(source, str) and source.lower().endswith(".gguf"):
        message = "a GGUF file is converted in an environment of the engine, and an image is none"
        document.problem((*path, "source"), message, cure="name a folder in Hugging Face layout, or leave image out")
    if (nodes := nodes_of(model)) > 1:
        message = f"a replica on {nodes} nodes takes no image"
        document.problem((*path, "image"), message, cure="set resources.nodes to 1, or leave image out")
