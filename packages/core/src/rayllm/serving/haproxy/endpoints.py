"""What of an engine clients may use: its endpoints, never what manages it.

A key is for asking, and engines have paths that put them to sleep, load adapters or tell how they were started. Only
what the engine's plugin lists is passed on; each list is a file that all models of the engine share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.view import GatewayView, ModelRoute


def files(view: GatewayView) -> dict[str, str]:
    """The lists: paths that are one endpoint, and those with more below."""
    found: dict[str, str] = {}
    for route in view.routes:
        exact, below = _names(route)
        found[exact] = _lines(path for path in route.endpoints if not path.endswith("/"))
        found[below] = _lines(path for path in route.endpoints if path.endswith("/"))
    return found


def allowed(route: ModelRoute) -> Iterator[str]:
    """Rules of a model's backend."""
    exact, below = _names(route)
    asked, meant = "%[path,bytes(0,200),json(utf8ps)]", f"%[lua.rayllm_meant({exact},{below})]"
    nothing = OpenAiError(404, f"the model {route.model} has no endpoint {asked}{meant}", "not_found")
    yield f"acl endpoint path -m str -f {exact}"
    # Below a path anything may follow, but not what a server could take for a way out of it.
    yield "acl wayward path -m sub /. // % \\\\ ;"
    yield f"acl below path -m beg -f {below}"
    yield f"http-request return {nothing.answer()} unless endpoint || below !wayward"


def _names(route: ModelRoute) -> tuple[str, str]:
    digest = hashlib.sha256("\n".join(sorted(route.endpoints)).encode()).hexdigest()[:12]
    return f"endpoints-{digest}.lst", f"endpoints-{digest}-below.lst"


def _lines(paths: Iterator[str]) -> str:
    return "".join(f"{path}\n" for path in sorted(paths))
