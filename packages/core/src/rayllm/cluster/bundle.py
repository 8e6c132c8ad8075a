"""The code that travels to the nodes: RayLLM, the plugins in use and pluggy, as one zip named by its content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import PluginError

CORE = "rayllm-core"
_SKIP = frozenset({"cli", "machine"})
"""Folders of core that no node needs."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A code package."""

    name: str
    content: bytes

    @property
    def uri(self) -> str:
        """What stands in `runtime_env`."""
        return f"gcs://{self.name}"


def build(distributions: Iterable[str]) -> Bundle:
    """Zip RayLLM's code together with the plugins of these distributions; the same code gives the same bytes.

    Raises:
        PluginError: a plugin's files can't be found, or hold compiled code, which would not run on any node.
    """
    files: dict[str, bytes] = {}
    for name in sorted({CORE, *distributions}):
        distribution = _installed(name)
        files |= _metadata(distribution)
        for package in _packages(distribution):
            files |= dict(_files(package))
    files |= dict(_files("pluggy"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name], zipfile.ZIP_DEFLATED)
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + files[name] for name in sorted(files)))
    return Bundle(f"rayllm-{digest.hexdigest()[:16]}.zip", buffer.getvalue())


def _installed(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise PluginError(
            f"the distribution {name} is not installed", cure=f"pip install {name}", topic="plugin"
        ) from None


def _metadata(distribution: importlib.metadata.Distribution) -> dict[str, bytes]:
    """As much of a dist-info folder as plugin discovery on the node reads."""
    name = distribution.metadata["Name"]
    folder = f"{name.replace('-', '_')}-{distribution.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {distribution.version}\n"
    return {
        f"{folder}/METADATA": metadata.encode(),
        f"{folder}/entry_points.txt": (distribution.read_text("entry_points.txt") or "").encode(),
    }


def _packages(distribution: importlib.metadata.Distribution) -> set[str]:
    """Top-level packages behind the distribution's `rayllm` entry points."""
    return {point.module.partition(".")[0] for point in distribution.entry_points if point.group == "rayllm"}


def _files(package: str) -> Iterator[tuple[str, bytes]]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise PluginError(
            f"the files of package {package} can't be found", cure="install the plugin again", topic="plugin"
        )
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        yield origin.name, origin.read_bytes()
        return
    root = origin.parent
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not path.is_file() or "__pycache__" in parts or (package == "rayllm" and parts[0] in _SKIP):
            continue
        if path.suffix in {".so", ".pyd", ".dylib", ".dll"}:
            raise PluginError(
                f"{package} holds compiled code ({'/'.join(parts)}): a plugin's code has to run on any node",
                cure="move it into the engine's environment",
                topic="plugin",
            )
        yield "/".join((package, *parts)), path.read_bytes()
