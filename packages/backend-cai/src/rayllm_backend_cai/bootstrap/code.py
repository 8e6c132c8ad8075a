"""The code that runs on the nodes: RayLLM, pluggy and this backend, as one zip named by its content."""

from __future__ import annotations

from dataclasses import dataclass, field

from rayllm.cluster.bundle import CORE, core_files, installed, metadata_of, packed
from rayllm.cluster.installed_code import module_files

OWN = "rayllm-backend-cai"
PACKAGE = "rayllm_backend_cai"
_NOT_ON_NODES = ("testing", "migrate")
"""Parts of this package that no node needs."""


@dataclass(frozen=True, slots=True)
class NodeCode:
    """A zip as it lies in `code/` of the project's disk."""

    digest: str
    """Names it by its content."""
    content: bytes = field(repr=False)


def node_code() -> NodeCode:
    """Zip what is installed here, by wheels or editable; the same code gives the same bytes.

    With the folder on its path, a Python that has `serving_requirements` finds the plugins of core and of this backend.

    Raises:
        PluginError: files of it can't be found.
    """
    own = {path: content for path, content in module_files(PACKAGE).items() if path.split("/")[1] not in _left_out()}
    return NodeCode(*packed(core_files(installed(CORE)) | metadata_of(installed(OWN)) | own))


def _left_out() -> set[str]:
    return {name for part in _NOT_ON_NODES for name in (part, f"{part}.py")}
