"""A program that runs a backend's methods, each in a process of its own that can be killed at any platform call.

It imports the plugin once and forks for each run, so that a kill costs milliseconds. A run is asked for by a JSON line
over a Unix socket, with two open files: a socket that is told how it goes, and what stdout and stderr are written to.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from rayllm.backends import AnyBackend, Cluster, ClusterBackend, ClusterSpec, Preparation
from rayllm.errors import RayllmError
from rayllm.plugins import Plugins
from rayllm.testing.backend_kit.interception import Interception

SERVE_CONFIG = {"proxy_location": "HeadOnly", "applications": []}
"""What `deploy` is tried with; the host and the port of Serve's proxy are added."""
NOBODY = "nobody-has-this-name"
"""The group and the node that `scale` and `logs` are tried with."""
_LARGEST = 1 << 16


def main() -> None:
    """Serve runs until the socket is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    name, calls = sys.argv[2], sys.argv[3:]
    backend = Plugins.discover().backends[name]
    if "prepares" in backend.capabilities:
        _preparation()  # packed once, and not in every run
    for call in calls:  # imported once, and not in every run
        resolve_name(call)
    _warm_up()
    control.send(b"ready")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(control, _LARGEST, 2)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _run(json.loads(message), backend, calls, *files)
        for file in files:
            os.close(file)
        control.send(b"!")


@functools.cache
def _preparation() -> Preparation:
    """Nodes that will serve nothing, with core's code alone."""
    from rayllm.cluster.bundle import build

    code = build([])
    return Preparation(models=[], code=code.content, digest=code.digest)


def _warm_up() -> None:
    """Have ready what each run would take its time for: HTTP, and the certificates of well-known authorities."""
    import httpx

    import rayllm.cluster.serve_api  # noqa: F401

    ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]
    httpx.create_ssl_context()


def _run(request: Mapping[str, Any], backend: AnyBackend, calls: list[str], wire: int, output: int) -> None:
    """One run, in the process that was forked for it; ends it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["environ"])
    os.chdir(request["environ"]["HOME"])
    for number in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(output, number)
    for file in (wire, output):
        os.set_inheritable(file, False)
    interception = Interception(socket.socket(fileno=wire), request["stop"], request["secrets"].values())
    said: dict[str, Any] = {}
    interception.tell({"pid": os.getpid()})
    try:
        interception.install(calls)
        said = _act(request, backend, interception)
    except RayllmError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        said = {"error": {"kinds": kinds, "message": error.message, "cause": error.cause, "cure": error.cure}}
    except KeyboardInterrupt:
        said = {"interrupted": True}
    except BaseException:  # noqa: BLE001  told to the test
        said = {"crash": traceback.format_exc()}
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        interception.tell({"end": True, **said, **interception.seen()})
        os._exit(0)


def _act(request: Mapping[str, Any], backend: AnyBackend, interception: Interception) -> dict[str, Any]:
    """Open the backend, and call the method that was asked for."""
    opened: ClusterBackend = backend.open(backend.options.model_validate_json(json.dumps(request["options"])))
    interception.opened()
    name: str = request["name"]
    value: Any = None
    if request["verb"] == "ensure":
        spec = {"gateway_host": "127.0.0.1", "gateway_port": request["port"], "secrets": request["secrets"]}
        if "prepares" in backend.capabilities:
            spec["preparation"] = _preparation()
        value = opened.ensure(ClusterSpec(name=name, **spec), interception.progress)
    elif request["verb"] == "find":
        value = opened.find(name)
    elif request["verb"] == "destroy":
        opened.destroy(name, interception.progress)
    elif request["verb"] == "scale":
        opened.scale(name, NOBODY, 1, interception.progress)
    elif request["verb"] == "logs":
        value = "".join(opened.logs(name, NOBODY, lines=1))
    elif request["verb"] == "deploy" and (cluster := opened.find(name)):
        http = {"host": "127.0.0.1", "port": cluster.serve_port}
        opened.deploy(cluster, {**SERVE_CONFIG, "http_options": http})
    described = dataclasses.asdict(value) if isinstance(value, Cluster) else None
    return {"cluster": described, "returned": type(value).__name__, "shown": repr(value)}


if __name__ == "__main__":
    main()
