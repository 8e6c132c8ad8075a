"""Core's own plugin."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.backends import AnyBackend
from rayllm.hookspecs import hookimpl
from rayllm.sources import ModelSource


@hookimpl
def rayllm_backends() -> Iterator[AnyBackend]:
    """Offer `ray`, on which other backends build."""
    from rayllm.cluster.ray_backend import BACKEND

    yield BACKEND


@hookimpl
def rayllm_model_sources() -> Iterator[ModelSource]:
    """Offer `file`, `package`, `hf` and the object stores."""
    from rayllm.serving.weights import sources

    yield sources.FILE
    yield sources.PACKAGE
    yield sources.HUB
    yield sources.S3
    yield sources.GS
    yield sources.AZ
