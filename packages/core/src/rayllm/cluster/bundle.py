"""The code that travels to the nodes: RayLLM, the plugins in use and pluggy, as one zip named by its content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from rayllm.cluster.installed_code import OURS, code_of, module_files
from rayllm.cluster.node_packages import require_brought
from rayllm.errors import PluginError

CORE = "rayllm-core"
_PREFIX, _SUFFIX = "rayllm-", ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A code package."""

    name: str
    content: bytes
    versions: Mapping[str, str] = field(default_factory=dict)
    """By distribution, core's first, the version of the code that is in it."""

    @property
    def digest(self) -> str:
        """What names the code by its content."""
        return self.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)

    @property
    def uri(self) -> str:
        """What stands in `runtime_env`."""
        return f"gcs://{self.name}"


def build(distributions: Iterable[str]) -> Bundle:
    """Zip RayLLM's code together with the plugins of these distributions; the same code gives the same bytes.

    Raises:
        PluginError: a plugin can't travel: its files can't be found, it holds compiled code, which would not run on
            every node, or it requires packages that a node does not have.
    """
    names = [CORE, *sorted({canonicalize_name(name) for name in distributions} - {CORE})]
    found = [installed(name) for name in names]
    files = core_files(found[0])
    for plugin in found[1:]:
        require_brought(plugin, names)
        files |= metadata_of(plugin) | code_of(plugin)
    digest, content = packed(files)
    versions = {distribution.metadata["Name"]: distribution.version for distribution in found}
    return Bundle(f"{_PREFIX}{digest}{_SUFFIX}", content, versions)


def core_files(core: importlib.metadata.Distribution) -> dict[str, bytes]:
    """RayLLM as nodes have it, and pluggy, by their paths below `site-packages`."""
    return metadata_of(core) | module_files(OURS) | module_files("pluggy")


def packed(files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """A digest of the files, and a zip with them; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name], zipfile.ZIP_DEFLATED)
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + files[name] for name in sorted(files)))
    return digest.hexdigest()[:16], buffer.getvalue()


def installed(name: str) -> importlib.metadata.Distribution:
    """An installed distribution.

    Raises:
        PluginError: there is none of that name.
    """
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise PluginError(
            f"the distribution {name} is not installed", cure=f"pip install {name}", topic="plugin-code"
        ) from None


def metadata_of(distribution: importlib.metadata.Distribution) -> dict[str, bytes]:
    """As much of a dist-info folder as plugin discovery on the node reads."""
    name = distribution.metadata["Name"]
    folder = f"{name.replace('-', '_')}-{distribution.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {distribution.version}\n"
    return {
        f"{folder}/METADATA": metadata.encode(),
        f"{folder}/entry_points.txt": (distribution.read_text("entry_points.txt") or "").encode(),
    }
