"""Which image each node runs in: named in the file, else the newest one that fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rayllm import ClusterError
from rayllm_backend_cai.api.records import Runtime
from rayllm_backend_cai.options import NodeOptions

OLDEST, NEWEST = (3, 10), (3, 13)
"""Minor versions of Python that Ray has packages for."""
_SHOWN = 12
_EDITIONS = ("standard", "hardened")
_EDITORS = ("workbench", "pbj", "jupyterlab")
Minor = tuple[int, int]


def choose(
    wanted: Mapping[str, NodeOptions], runtimes: Iterable[Runtime], kept: Mapping[str, str] | None = None
) -> tuple[dict[str, str], str]:
    """An image for each node or group, all with the same minor version of Python; and that version, as `3.11`.

    Args:
        wanted: what each of them has.
        runtimes: those of the workspace.
        kept: what they run in now: stays where the file names none, so that a newer image restarts nothing.

    Raises:
        ClusterError: an image that is named is not there or is disabled, or none fits.
    """
    known = list(runtimes)
    fixed = {name: _fixed(name, node, known, (kept or {}).get(name, "")) for name, node in wanted.items()}
    minors = {_minor(one): f"{name}: {one.image_identifier}" for name, one in fixed.items() if one}
    if len(minors) > 1:
        told = "\n".join(f"{where} has Python {_text(minor)}" for minor, where in minors.items() if minor)
        raise ClusterError(
            "the nodes of a cluster need the same version of Python",
            cause=told,
            cure="name runtimes of one version under `runtime:`, or name none",
            topic="cai-runtime",
        )
    usable = [one for one in known if one.status == "enabled" and _in_range(_minor(one))]
    candidates = set(minors) or {_minor(one) for one in usable}
    for minor in sorted(filter(None, candidates), reverse=True):
        found = {name: one or _best(wanted[name], minor, usable) for name, one in fixed.items()}
        if all(found.values()):
            return {name: one.image_identifier for name, one in found.items() if one}, _text(minor)
    raise _none_fits(wanted, known, minors)


def _fixed(name: str, node: NodeOptions, known: list[Runtime], kept: str) -> Runtime | None:
    """What is not to be chosen: named in the file, or run in already and still to be had."""
    image = node.runtime or kept
    found = next((one for one in known if one.image_identifier == image), None) if image else None
    if not node.runtime:
        return found if found and found.status != "disabled" else None
    if found is None or found.status == "disabled":
        what = "is disabled in this workspace" if found else "is not among this workspace's runtimes"
        raise ClusterError(
            f"the runtime of {name} {what}: {node.runtime}", cause=_there(known), cure=_CURE, topic="cai-runtime"
        )
    if not _in_range(_minor(found)):
        raise ClusterError(
            f"the runtime of {name} has no Python that Ray runs with: {found.kernel or 'nothing said of a kernel'}",
            cause=node.runtime,
            cure=f"name one with Python {_text(OLDEST)} to {_text(NEWEST)}",
            topic="cai-runtime",
        )
    return found


def _best(node: NodeOptions, minor: Minor, usable: list[Runtime]) -> Runtime | None:
    """The newest with this Python: with CUDA where there are GPUs, as plain as can be where there are none."""
    fits = [one for one in usable if _minor(one) == minor and _has_cuda(one) == bool(node.gpus)]
    return max(fits, key=_rank, default=None)


def _rank(one: Runtime) -> tuple[int, list[int], int]:
    edition = next((rank for rank, word in enumerate(_EDITIONS) if word in one.edition.lower()), len(_EDITIONS))
    editor = next((rank for rank, word in enumerate(_EDITORS) if word in one.editor.lower()), len(_EDITORS))
    plain = 0 if _has_cuda(one) else -edition
    return plain, [int(part) for part in re.findall(r"\d+", one.full_version)], -editor


def _has_cuda(one: Runtime) -> bool:
    return bool(re.search(r"nvidia|cuda", f"{one.edition} {one.image_identifier}", re.IGNORECASE))


def _minor(one: Runtime) -> Minor | None:
    found = re.search(r"python\s*(3)\.(\d+)", one.kernel, re.IGNORECASE)
    return (int(found[1]), int(found[2])) if found else None


def _in_range(minor: Minor | None) -> bool:
    return minor is not None and OLDEST <= minor <= NEWEST


def _text(minor: Minor) -> str:
    return f"{minor[0]}.{minor[1]}"


_CURE = "name one of these under `runtime:`, or leave it out; an administrator adds and enables runtimes"


def _none_fits(wanted: Mapping[str, NodeOptions], known: list[Runtime], minors: Iterable[Minor | None]) -> ClusterError:
    needs = "Python " + (" ".join(_text(one) for one in minors if one) or f"{_text(OLDEST)} or newer")
    gpus = [name for name, node in wanted.items() if node.gpus and not node.runtime]
    return ClusterError(
        f"no enabled runtime of this workspace has {needs}" + (f", and CUDA for {', '.join(gpus)}" if gpus else ""),
        cause=_there(known),
        cure=f"an administrator adds and enables runtimes{', for GPUs of the edition Nvidia GPU' if gpus else ''}; or "
        "name one of these under `runtime:`, if it has what is needed and does not say so",
        topic="cai-runtime",
    )


def _there(known: list[Runtime]) -> str:
    """What there is, in short."""
    rows = [f"{one.image_identifier} ({one.kernel}, {one.edition}, {one.status})" for one in known]
    more = [f"and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return "\n".join(["there is:", *rows[:_SHOWN], *more]) if rows else "it has no runtimes at all"
