"""The files that a distribution brings, however it is installed: by a wheel, or editable in one of its ways."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from rayllm.errors import PluginError
from rayllm.recorded import recorded

OURS = "rayllm"
"""Core's own package; a distribution that only registers a module of it brings no code."""
_NOT_ON_NODES = frozenset({"cli", "scaffold"})
"""Folders of core that no node needs."""
_COMPILED = re.compile(r"\.(so(\.\d+)*|pyd|dylib|dll)$")
_MACHINE_CODE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How programs and libraries begin, on Linux and macOS: a tool in a wheel has no suffix."""
_PROJECT = ("pyproject.toml", "setup.py")
Found = Iterator[tuple[str, Path]]


def code_of(distribution: Distribution) -> dict[str, bytes]:
    """What travels of a plugin's distribution, by its path below `site-packages`: modules, data, no tests or caches.

    Raises:
        PluginError: its files can't be found, or one of them is compiled.
    """
    title = f"{distribution.metadata['Name']} {distribution.version}"
    found = dict(_recorded(distribution))
    folders = list(_source_folders(distribution))
    for folder in folders:
        found |= {path.relative_to(folder).as_posix(): path for path in _below(folder)}
    if not folders and (not found or _is_editable(distribution)):
        for module in sorted(_modules(distribution)):
            found |= dict(_of_module(module, title))
    return _read(found, title)


def module_files(module: str) -> dict[str, bytes]:
    """The same of one package, from where it is imported here: what runs there has to be what runs here."""
    return _read(dict(_of_module(module, module)), module)


def _read(found: dict[str, Path], title: str) -> dict[str, bytes]:
    """The contents of what travels.

    Raises:
        PluginError: one is gone, or is compiled.
    """
    files = {}
    for name in sorted(name for name in found if not _is_junk(name)):
        try:
            content = found[name].read_bytes()
        except OSError as error:
            raise _incomplete(title, f"{name}: {error.strerror}") from error
        if _COMPILED.search(name) or content.startswith(_MACHINE_CODE):
            raise PluginError(
                f"{title} can't be sent to the nodes: it holds compiled code ({name})",
                cause="a node may have another system, processor or Python; only pure Python travels",
                cure="put it into a distribution of its own, and name that in the engine's `environment`",
                topic="plugin-code",
            )
        if _is_for_nodes(name):
            files[name] = content
    return files


def _incomplete(title: str, cause: str) -> PluginError:
    return PluginError(
        f"the files of {title} can't be found", cause=cause, cure="install it again", topic="plugin-code"
    )


def _is_junk(name: str) -> bool:
    """Caches, and what editors and tools leave behind."""
    parts = PurePosixPath(name).parts
    return name.endswith(".pyc") or any(part == "__pycache__" or part.startswith(".") for part in parts)


def _is_for_nodes(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "tests" not in parts[:-1] and not (parts[0] == OURS and parts[1] in _NOT_ON_NODES)


def _recorded(distribution: Distribution) -> Found:
    """What the installer put into `site-packages`, without what makes an editable install work."""
    for file in recorded(distribution):
        top = file.parts[0]
        if top != ".." and not top.endswith((".dist-info", ".pth")) and not top.startswith("__editable__"):
            yield file.as_posix(), Path(str(file.locate()))


def _is_editable(distribution: Distribution) -> bool:
    return any(file.suffix == ".pth" for file in recorded(distribution))


def _source_folders(distribution: Distribution) -> Iterator[Path]:
    """Folders that an editable install puts on the path, and that hold nothing but the distribution's code.

    A project's own folder holds much else: there, the modules are looked up by their names.
    """
    for file in (file for file in recorded(distribution) if file.suffix == ".pth"):
        lines = Path(str(file.locate())).read_text(encoding="utf-8").splitlines()
        for folder in (Path(line.strip()) for line in lines if not line.startswith("import ")):
            if folder.is_absolute() and folder.is_dir() and not any((folder / name).exists() for name in _PROJECT):
                yield folder


def _modules(distribution: Distribution) -> set[str]:
    """Names of what it lets people import: its entry points' modules, and what setuptools noted."""
    points = {point.module for point in distribution.entry_points if point.group == "rayllm"}
    tops = {module.partition(".")[0] for module in points}
    noted = set((distribution.read_text("top_level.txt") or "").split())
    return {module for module in points | (noted - tops) if module.partition(".")[0] != OURS}


def _of_module(module: str, title: str) -> Found:
    """The outermost package around a module that is no namespace shared with others, or the module's one file."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:depth]))
        if spec is None:
            break
        if spec.origin is not None and spec.has_location:
            origin, above = Path(spec.origin), parts[: depth - 1]
            if origin.name != "__init__.py":
                yield "/".join([*above, origin.name]), origin
                return
            root = origin.parent
            for path in _below(root):
                yield "/".join([*above, parts[depth - 1], path.relative_to(root).as_posix()]), path
            return
    raise _incomplete(title, f"no module {module}")


def _below(folder: Path) -> Iterator[Path]:
    """Every file in a folder, but for the metadata that a build leaves beside the sources."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(
            part.endswith((".egg-info", ".dist-info")) for part in path.relative_to(folder).parts
        ):
            yield path
