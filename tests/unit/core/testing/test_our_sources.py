"""Core's own model sources keep the kit's rules; `hf:` does in tests/integration/core, where the hub's library is."""

from __future__ import annotations

from pathlib import Path

from rayllm.testing import SourceConformance


class TestFile(SourceConformance):
    """`file:`."""

    scheme = "file"
    good = (f"file:{Path(__file__).parent}",)
    bad = ("file:relative/path", "file://host/path", "file:   ")
    missing = ("file:/no/such/folder", "file:~/no/such/file.gguf")


class TestPackage(SourceConformance):
    """`package:`, for a distribution that is installed."""

    scheme = "package"
    good = ("package:pydantic/plugin",)
    bad = ("package:pydantic", "package:/plugin", "package:pydantic/../plugin", "package:a b/c")
    missing = ("package:pydantic/no-such-folder",)
