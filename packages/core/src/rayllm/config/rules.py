"""What the schema's types can't say about a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from rayllm.config.asked import kind_of
from rayllm.config.document import Document, KeyPath
from rayllm.config.plugin_calls import noting
from rayllm.config.schema import ModelConfig
from rayllm.engines import AnyEngine, Command, Device, Launch, Options
from rayllm.errors import PluginError
from rayllm.names import did_you_mean
from rayllm.plugins import Plugins
from rayllm.serving.spec import GATEWAY_APP

RESERVED = frozenset({GATEWAY_APP, "gateway"})
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def check_source(document: Document, plugins: Plugins, path: KeyPath, source: Any) -> None:
    """A path, or a URI of a known scheme that its plugin finds well formed."""
    if not isinstance(source, str):
        return  # the schema has said so
    if not source.strip():
        document.problem(path, "empty; a path or a URI expected", choices=_schemes(plugins))
        return
    match = SCHEME.match(source)
    scheme = match[1] if match else "file"
    found = plugins.sources.get(scheme)
    if found is None:
        hint = did_you_mean(scheme, plugins.sources)
        shown = document.raw.get(path, scheme)
        document.problem(path, f'no model source "{shown}"{hint}', choices=_schemes(plugins))
        return
    with noting(document, path, plugins, ("source", scheme), "can't check this"):
        wrong = found.check(source if match else f"file:{source}")
        if not isinstance(wrong, str | None):
            raise PluginError(f"check() returned {type(wrong).__name__}, where a text or None is wanted")
        if wrong:
            document.problem(path, document.redacted(wrong))


def _schemes(plugins: Plugins) -> str:
    return f"schemes: {', '.join(sorted(plugins.sources)) or 'none'}"


def check_environment(document: Document, path: KeyPath, choice: Any) -> None:
    """`auto`, `current`, or an absolute path on the nodes."""
    if not isinstance(choice, str) or choice in {"auto", "current"} or choice.startswith("/"):
        return
    hint = did_you_mean(choice, ["auto", "current"])
    shown = document.shown(path, choice)
    document.problem(path, f"auto, current or an absolute path expected, found {shown}{hint}")


def check_version(document: Document, path: KeyPath, engine: AnyEngine, model: Mapping[str, Any]) -> None:
    """A version, of an engine that has some."""
    version = model.get("version")
    if not isinstance(version, str):
        return  # none, or the schema has said so
    try:
        engine.environment_for(Device(kind=kind_of(model)), version)
    except ValueError as error:
        document.problem(path, f'engine "{engine.name}": {error}')
    except KeyError:
        return  # the engine does not run on it, which is said elsewhere


def check_replicas(document: Document, path: KeyPath, replicas: Any) -> None:
    """`min` is not above `max`."""
    if not isinstance(replicas, dict):
        return
    low, high = replicas.get("min", 1), replicas.get("max", 1)
    if isinstance(low, int) and isinstance(high, int) and low > high >= 1:
        where = (*path, "min" if "min" in replicas else "max")
        document.problem(where, f"min {low} is more than max {high}")


def check_name(document: Document, path: KeyPath) -> None:
    """Not one of the names that stand for the gateway."""
    if path[-1] in RESERVED:
        document.problem(path, f'"{path[-1]}" names the gateway', cure="choose another name for the model")


def check_no_secrets(document: Document) -> None:
    """No variable's value in a model: it would stand in Serve's config, which everybody on the cluster can read."""
    for path, text in document.raw.items():
        if path[0] == "models":
            message = (
                f"{text} may not stand here: a model's block is kept in Serve's config, open to all on the cluster"
            )
            document.problem(path, message, cure="write the value itself, if it is no secret")


def check_launch(document: Document, plugins: Plugins, options: Options, name: str, model: ModelConfig) -> None:
    """The engine finds nothing wrong with what it would be started with: its `commands` is pure, so it can be asked."""
    engine = plugins.engines[model.engine]
    device = Device(kind="cuda" if model.resources.gpus else "cpu")
    launch = Launch(
        python="python",
        model_path="model",
        model_name=name,
        options=options,
        host="127.0.0.1",
        port=1,
        device=device,
        gpus=model.resources.gpus,
        cpus=max(1, int(model.resources.cpus)),
        memory=model.resources.memory,
        nodes=(nodes := model.resources.nodes),
        addresses=[f"192.0.2.{1 + rank % 254}" for rank in range(nodes)] if nodes > 1 else (),
        rendezvous_port=1 if nodes > 1 else 0,
        interface="eth0" if nodes > 1 else "",
    )
    try:
        engine.environment_for(device)
    except KeyError:
        path: KeyPath = ("models", name, "resources")
        document.problem(path, f'engine "{engine.name}" does not run on {device.kind}', cure="see resources.gpus")
        return
    path = ("models", name, "options")
    with noting(document, path, plugins, ("engine", engine.name), "can't tell how it would be started"):
        _require_commands(engine.commands(launch), nodes)


def _require_commands(found: Any, nodes: int) -> None:
    """Refuse what no process can be started from: on the node it would be found out after minutes."""
    if isinstance(found, Sequence) and found and all(isinstance(one, Command) for one in found):
        if len(found) < nodes:
            what = f"{len(found)} command{'' if len(found) == 1 else 's'}"
            raise PluginError(f"commands() returned {what} for a replica on {nodes} nodes")
        return
    is_list = isinstance(found, list | tuple)
    what = f"{found!r:.60}" if is_list else type(found).__name__
    raise PluginError(f"commands() returned {what}, where a sequence of Command is wanted")


def check_packages(document: Document) -> None:
    """Whole paths or addresses, and without an index folders alone: a page can't be asked offline."""
    block = document.data.get("packages")
    links = block.get("find_links") if isinstance(block, dict) else None
    for index, link in enumerate(links if isinstance(links, list) else ()):
        path: KeyPath = ("packages", "find_links", index)
        if not isinstance(link, str) or link.startswith("/"):
            continue
        if not link.startswith(("http://", "https://")):
            document.problem(
                path, f"a whole path on the nodes or an address expected, found {document.shown(path, link)}"
            )
        elif isinstance(block, dict) and block.get("offline") is True:
            document.problem(path, "a folder on the nodes expected, because of offline: true")
    if isinstance(block, dict):
        for path, text in document.raw.items():
            if path[0] == "packages":
                cure = "put credentials into ~/.netrc or pip's own settings on the nodes"
                document.problem(
                    path, f"{text} may not stand here: Serve's config is open to all on the cluster", cure=cure
                )


def check_host(document: Document) -> None:
    """Other machines may only reach a gateway that asks for a key."""
    gateway = document.data.get("gateway")
    host = gateway.get("host") if isinstance(gateway, dict) else None
    if not isinstance(gateway, dict) or not isinstance(host, str) or _is_loopback(host) or gateway.get("keys"):
        return
    shown = document.raw.get(("gateway", "host"), host)
    document.problem(
        ("gateway", "keys"),
        f'required, because gateway.host "{shown}" is reachable from other machines',
        cure="keys: {env: RAYLLM_API_KEYS}, after: export RAYLLM_API_KEYS=$(rayllm keys new)",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
