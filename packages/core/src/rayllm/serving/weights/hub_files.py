"""Which files of a repository make the model: the weights in one format, and all that tells how to use them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from rayllm.errors import InputError
from rayllm.serving.prepare.room import in_words

_OTHER_FOLDERS = frozenset({"original", "onnx", "openvino", "coreml", "tflite", "flax", "tf", "gguf", ".git"})
"""The same model again, for other programs."""
_FORMATS = (".safetensors", ".bin", ".pt")
"""Weights; of the formats that a folder has, the first counts."""
_TRAINING = frozenset({"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scheduler.bin"})
_BESIDE = frozenset({".json", ".jinja", ".py", ".txt", ".model", ".tiktoken", ".yaml", ".yml"})
_SHOWN = 20


def choose(repo: str, files: Mapping[str, int], file: str | None, scheme: str = "hf") -> list[str]:
    """The files to fetch.

    Args:
        repo: `ORG/NAME`, or a bucket and the path in it, for the error.
        files: every file of the repository and its size in bytes.
        file: the one that is asked for, if the source names one.
        scheme: of the source, for the error.

    Raises:
        InputError: the repository has no such file, no weights, or GGUF files of which one has to be named.
    """
    source = f"{scheme}://{repo}"
    repo, topic = (repo, "hub-missing") if scheme == "hf" else (source, "store-missing")
    if file is not None:
        if file not in files:
            cure = _offer(source, files) or f"see the files of {repo}"
            raise InputError(f"{repo} has no file {file}", cure=cure, topic=topic)
        return [file]
    paths = [PurePosixPath(name) for name in files]
    wanted = [path for path in paths if not _OTHER_FOLDERS.intersection(path.parts[:-1])]
    weights = list(weights_of(wanted))
    if weights:
        return sorted(str(path) for path in (*weights, *(path for path in wanted if _is_beside(path))))
    if offer := _offer(source, files):
        raise InputError(f"{repo} holds GGUF files: name the one to serve", cure=offer, topic=topic)
    raise InputError(
        f"{repo} has no weights that can be served: no .safetensors, .bin, .pt or .gguf file",
        cause=f"it has {', '.join(sorted(files)[:_SHOWN]) or 'no files'}",
        cure="check the name: it may be a data set, an adapter's or an empty repository",
        topic=topic,
    )


def weights_of(paths: Iterable[PurePosixPath]) -> Iterator[PurePosixPath]:
    """The files that an engine loads: in each folder those of its best format.

    Where a folder has them in Mistral's own shape and in the common one, the common one.
    """
    folders: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in paths:
        if path.suffix in _FORMATS and path.name not in _TRAINING:
            folders.setdefault(path.parent, []).append(path)
    for found in folders.values():
        best = min((path.suffix for path in found), key=_FORMATS.index)
        same = [path for path in found if path.suffix == best]
        common = [path for path in same if not path.name.startswith("consolidated")]
        yield from common or same


def _is_beside(path: PurePosixPath) -> bool:
    """Whether it may be needed next to the weights: settings, templates, code, the tokenizer under any name."""
    name = path.name.lower()
    return path.suffix in _BESIDE or name.startswith(("license", "tokenizer.model"))


def _offer(source: str, files: Mapping[str, int]) -> str:
    """The GGUF files to choose from, each with its size; nothing if there is none."""
    found = sorted(name for name in files if name.lower().endswith(".gguf"))
    lines = [f"source: {source}/{name}   {in_words(files[name])}" for name in found[:_SHOWN]]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(["write one of", *lines, *more]) if lines else ""
