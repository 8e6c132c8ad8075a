"""New plugins: complete distributions that work at once, made from the files under `templates`.

A template is a file as it will be, with `{{word}}` for what differs from plugin to plugin. The suffix keeps tools from
taking it for code of ours.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.version import Version

from rayllm import __version__
from rayllm.errors import InputError, RayllmError
from rayllm.names import did_you_mean
from rayllm.plugins import Plugins

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".tmpl"
LONGEST = 30
"""Characters of a name: lines of the templates stay short enough with it."""
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


EDIT = {
    "engine": "src/{{package}}/server.py",
    "backend": "src/{{package}}/client.py",
    "source": "src/{{package}}/__init__.py",
}
"""Kinds of plugin, and in which file the author of one begins."""
_NEEDS = {"backend": ['"httpx>=0.28,<1"']}
"""What the code of a kind imports beside core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlugin:
    """A plugin that was just made."""

    kind: str
    """`engine`, `backend` or `source`."""
    name: str
    """What a person writes in a file to use it."""
    distribution: str
    """What is installed: `rayllm-engine-demo`."""
    package: str
    """What is imported: `rayllm_engine_demo`."""
    folder: str
    """Where it is."""
    files: tuple[str, ...]
    """All files in it, by their path from there."""
    edit: str
    """The one of them to begin with."""


def make(kind: str, name: str, into: Path, plugins: Plugins) -> NewPlugin:
    """Make the distribution `rayllm-KIND-NAME` in a folder of that name under `into`.

    The folder is there as a whole or not at all. It may be there before if it is empty; nothing is ever overwritten.

    Raises:
        InputError: no such kind; the name can't be used or is taken, or there is something at that place.
        RayllmError: the files can't be written.
    """
    if kind not in EDIT:
        raise InputError(f'"{kind}" is no kind of plugin{did_you_mean(kind, EDIT)}', cure=f"one of {', '.join(EDIT)}")
    _require_name(name)
    _require_free(kind, name, plugins)
    distribution = f"rayllm-{kind}-{name}"
    values = {
        "kind": kind,
        "name": name,
        "class": "".join(word.capitalize() for word in name.split("-")),
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "needs": ", ".join([*_NEEDS.get(kind, ()), f'"rayllm-core{core_range(__version__)}"']),
    }
    files = dict(_rendered(kind, values))
    folder = into.expanduser() / distribution
    _write(folder, files)
    return NewPlugin(
        kind=kind,
        name=name,
        distribution=distribution,
        package=values["package"],
        folder=str(folder),
        files=tuple(sorted(files)),
        edit=_filled(EDIT[kind], values),
    )


def core_range(version: str) -> str:
    """The versions of core that a plugin made with `version` is for: `>=0.1,<0.2`, and from 1.0 on `>=1.2,<2`."""
    made_with = Version(version)
    major, minor = made_with.major, made_with.minor
    lowest = made_with.public if made_with.is_prerelease else f"{major}.{minor}"
    return f">={lowest},<{major + 1 if major else f'0.{minor + 1}'}"


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        better = "-".join(re.findall(r"[a-z0-9]+", name.lower())).lstrip("0123456789-")
        raise InputError(
            f'"{name}" is no name for a plugin: lower case words of letters and digits, joined by "-", the first '
            "beginning with a letter",
            cure=f"{better or 'my-server'} would do",
        )
    if yaml.safe_load(name) != name:  # no, on, null: something else than text
        raise InputError(
            f'"{name}" is no text in YAML: every file that names the plugin would have to quote it',
            cure=f"my-{name} would do",
        )
    if len(name) > LONGEST:
        raise InputError(
            f'"{name}" has {len(name)} characters; a plugin\'s name has at most {LONGEST}', cure="a shorter one"
        )


def _require_free(kind: str, name: str, plugins: Plugins) -> None:
    """Refuse what could not be installed beside the plugins that are here, broken and disabled ones included."""
    for info in plugins.infos:
        offered = f"{kind} {name}" in info.offers
        if offered or info.name == f"{kind}-{name}":
            what = "offers" if offered else "is called after"
            raise InputError(
                f'the installed plugin {info.title} {what} {kind} "{name}"',
                cure="choose another name: of two plugins with the same, one would be left out",
            )


def _rendered(kind: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Path and text of every file."""
    for root in (TEMPLATES / "common", TEMPLATES / kind):
        for template in sorted(root.rglob(f"*{SUFFIX}")):
            path = template.relative_to(root).as_posix().removesuffix(SUFFIX)
            path = path.replace("/package/", f"/{values['package']}/")
            yield path, _filled(template.read_text(encoding="utf-8"), values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values[place[1]], text)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write beside the place and rename: what a write that fails leaves would stand in the way of the next try."""
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise _there(folder)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for path, text in files.items():
            file = draft / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        draft.rename(folder)
    except OSError as error:
        if folder.is_dir() and any(folder.iterdir()):
            raise _there(folder) from error
        raise RayllmError(f"{folder} can't be written", cause=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _there(folder: Path) -> InputError:
    return InputError(f"{folder} is there already", cure="remove it, or name another place: --into FOLDER")
