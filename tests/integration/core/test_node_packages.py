"""What a plugin may require of a node, against what ray[serve] says it requires."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rayllm.cluster.node_packages import BROUGHT


def requirements(name: str, extra: str) -> list[Requirement]:
    """Of an installed distribution, on this machine; an extra's beside the others."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    found = [Requirement(line) for line in lines]
    return [one for one in found if not one.marker or any(one.marker.evaluate({"extra": e}) for e in ("", extra))]


def test_what_is_counted_on_is_there() -> None:
    """All that ray[serve] names, and of what these bring in turn nothing that they don't."""
    direct = {canonicalize_name(one.name) for one in requirements("ray", "serve")}
    todo, reached = [("ray", "serve")], set[str]()
    while todo:
        name, extra = todo.pop()
        reached.add(canonicalize_name(name))
        for one in requirements(name, extra):
            if canonicalize_name(one.name) not in reached:
                todo += [(one.name, further) for further in one.extras or {""}]
    assert direct - BROUGHT == set()
    assert BROUGHT - reached == set()
