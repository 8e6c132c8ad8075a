"""What of an engine clients may use: its endpoints, never what manages it.

A key is for asking, and engines have paths that put them to sleep, load adapters or tell how they were started. Only
what the engine's plugin lists is passed on; each list is a file that all models of the engine share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.view import GatewayView, ModelRoute


def files(view: GatewayView) -> dict[str, str]:
    """The lists: paths that are one endpoint, and those with more below."""
    found: dict[str, str] = {}
    for route in view.routes:
        exact, below = _names(route)
        found[exact] = _lines(path for path in route.endpoints if not path.endswith("/"))
        found[below] = _lines(path for path in route.endpoints if path.endswith("/"))
        if route.adapter_endpoints is not None:
            found[_file(route.adapter_endpoints)] = _lines(iter(route.adapter_endpoints))
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
    if route.adapters and route.adapter_endpoints is not None:
        told = f"the engine of {route.model} answers at {asked} by the model alone, not by its adapter"
        without = OpenAiError(404, f"{told} %[var(txn.adapter)]", "not_found")
        by_adapter = f"{{ path -m str -f {_file(route.adapter_endpoints)} }}"
        yield f"http-request return {without.answer()} if {{ var(txn.adapter) -m found }} !{by_adapter}"


def _names(route: ModelRoute) -> tuple[str, str]:
    file = _file(route.endpoints)
    return file, file.replace(".lst", "-below.lst")


def _file(paths: Iterable[str]) -> str:
    return f"endpoints-{hashlib.sha256(chr(10).join(sorted(paths)).encode()).hexdigest()[:12]}.lst"


def _lines(paths: Iterator[str]) -> str:
    return "".join(f"{path}\n" for path in sorted(paths))
