"""From a model's `source:` to a folder in Hugging Face layout on this node."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rayllm.errors import InputError, RayllmError
from rayllm.paths import home
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.interpreters import version_of
from rayllm.serving.prepare.room import full_disk_told, require_room
from rayllm.serving.processes.file_lock import locked
from rayllm.serving.weights import gguf_header
from rayllm.serving.weights.digests import sha256_of
from rayllm.sources import FetchProgress, ModelSource

CONVERTER = "1"
"""Raised when the same file would be converted to something else."""
_BYTES = 2
"""Of one weight after the conversion."""
_SCRIPT = Path(__file__).with_name("gguf_convert.py")
_SCHEME = re.compile(r"([a-z][a-z0-9+-]*):")


class HasSources(Protocol):
    """What is asked of the plugins: the model sources by scheme."""

    @property
    def sources(self) -> Mapping[str, ModelSource]:
        """Every installed source."""


def ensure_weights(source: str, plugins: HasSources, python: str, report: FetchProgress) -> Path:
    """The folder with the model's files, fetched and converted first if need be. Blocks.

    Args:
        source: as in the YAML: a path, or a URI of an installed source.
        plugins: where the sources come from.
        python: the interpreter of the engine's environment; it converts GGUF files.
        report: told what is going on.

    Raises:
        InputError: no such source, or the file is not a model.
        RayllmError: it can't be fetched or converted; with the cause and what to do.
    """
    with full_disk_told(home()):
        return _ensured(source, plugins, python, report)


def _ensured(source: str, plugins: HasSources, python: str, report: FetchProgress) -> Path:
    found = source_of(source, plugins.sources).fetch(source, home() / "models", report)
    if found.is_dir():
        return found
    if found.suffix.lower() != ".gguf":
        raise InputError(
            f"{found} is neither a folder with a model's files nor a .gguf file",
            cure="name the folder that holds config.json, or a .gguf file",
        )
    return _converted(found, _BYTES * gguf_header.check(found), python, report)


def source_of(source: str, sources: Mapping[str, ModelSource]) -> ModelSource:
    """Who fetches it; what has no scheme is a path.

    Raises:
        InputError: no installed plugin knows the scheme.
    """
    match = _SCHEME.match(source)
    scheme = match[1] if match else "file"
    if scheme not in sources:
        raise InputError(
            f"source {source!r}: no installed plugin knows {scheme + ':'!r}",
            cure=f"known here: a path, {', '.join(f'{name}:' for name in sorted(sources))}",
        )
    return sources[scheme]


def _converted(file: Path, size: int, python: str, report: FetchProgress) -> Path:
    """The folder of `size` bytes that the file was converted to, by its content and the converter's version."""
    transformers = version_of(python, "transformers")
    if transformers is None:
        raise RayllmError(
            f"{file.name} has to be converted, and {python} has no transformers to do it",
            cure="write `environment: auto`, or install transformers, gguf and accelerate there",
        )
    name = f"{file.stem}-{sha256_of(file)[:16]}-{transformers}-{CONVERTER}"
    folder = home() / "models" / "converted" / name
    if folder.is_dir():
        return folder
    with locked(folder.with_name(f".{name}.lock"), report, f"another process that converts {file.name}") as lock:
        if not folder.is_dir():
            require_room(folder, size, f"what {file.name} is converted to")
            _convert(file, folder, python, report, lock)
    return folder


def _convert(file: Path, folder: Path, python: str, report: FetchProgress, lock: int) -> None:
    """Convert into a draft beside `folder` and rename it, so that the folder is whole as soon as it is there."""
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    report(f"converting {file.name}")
    last: deque[str] = deque(maxlen=15)
    process = subprocess.Popen(
        [python, str(_SCRIPT), str(file), str(draft)],
        env={**clean_environ(), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
    )
    with process:
        for line in process.stdout or ():
            if not line.startswith((" ", "Traceback")):  # a traceback's last line says enough
                last.append(line.rstrip())
            if line.startswith(("reading", "writing")):
                report(f"converting {file.name}: {line.strip()}")
    if process.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        raise RayllmError(
            f"{file} could not be converted (exit status {process.returncode})",
            cause="\n".join(last) or None,
            cure=_cure("\n".join(last), process.returncode),
        )
    draft.rename(folder)


def _cure(output: str, status: int) -> str:
    """What to do about a failed conversion."""
    if "No space left" in output:
        return "free some disk space, or set RAYLLM_HOME to another disk: the converted model takes 2 bytes a weight"
    if "No module named" in output or "ImportError" in output:
        return "the engine's environment lacks what converts GGUF: install transformers, gguf and accelerate there"
    if status == -signal.SIGKILL:
        return "the kernel ended it, most likely for want of memory: converting takes about 4 bytes a weight"
    if "not supported" in output or "NotImplementedError" in output:
        return "this architecture can't be converted from GGUF: use the model in Hugging Face layout"
    return "use the model in Hugging Face layout, or another GGUF file of it"
