"""What the backend of a file refuses, each at its key."""

from __future__ import annotations

from typing import Any

from rayllm.backends import AnyBackend, ClusterSpec, Refusal
from rayllm.config.document import Document, KeyPath
from rayllm.config.plugin_calls import noting
from rayllm.config.schema import DeploymentConfig
from rayllm.engines import Options
from rayllm.errors import PluginError
from rayllm.plugins import Plugins


def check_refusals(
    document: Document, plugins: Plugins, backend: AnyBackend, options: Options, config: DeploymentConfig
) -> None:
    """Note what no cluster of this backend could be; `options` and `config` are valid."""
    if backend.refuse is None:
        return
    with noting(document, ("cluster",), plugins, ("backend", backend.name), "can't tell what it refuses"):
        for one in backend.refuse(options, spec_of(config), config.models):
            if not isinstance(one, Refusal):
                raise PluginError(f"refuse() yielded {type(one).__name__}, where a Refusal is wanted")
            is_block = isinstance(_value(document.data, one.key), dict | list)
            message, cure = document.redacted(one.message), document.redacted(one.cure)
            document.problem(one.key, message, cure=cure, key=is_block)


def spec_of(config: DeploymentConfig) -> ClusterSpec:
    """The cluster that a file asks for, as far as the file alone tells."""
    gateway = config.gateway
    return ClusterSpec(
        name=config.name,
        gateway_host=gateway.host,
        gateway_port=gateway.port,
        gateway_tls=gateway.tls is not None,
        keys_required=gateway.keys is not None,
    )


def _value(data: Any, path: KeyPath) -> Any:
    """What stands there; None where nothing does."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
