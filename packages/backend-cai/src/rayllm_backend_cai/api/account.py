"""What a workspace offers, and what this key's user may have of it."""

from __future__ import annotations

from collections.abc import Mapping

from rayllm_backend_cai.api.pages import listed
from rayllm_backend_cai.api.records import KeyCheck, NodeLabel, Quota, Runtime, Usage
from rayllm_backend_cai.api.transport import Transport


class Account:
    """Lists of a workspace, as this key's user sees them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def check_key(self, audience: str = "API") -> KeyCheck:
        """Whose key this is, and whether it is good for `API` or `Application`.

        Raises:
            KeyRefusedError: it is wrong, or for another audience.
        """
        return self._transport.read(KeyCheck, "POST", "/auth/validate_key", json={"audience": audience})

    def runtimes(self, search: Mapping[str, str] | None = None) -> list[Runtime]:
        """Images that scripts can run in."""
        return listed(self._transport, Runtime, "/runtimes", "runtimes", search=search)

    def node_labels(self) -> list[NodeLabel]:
        """Kinds of accelerators."""
        return listed(self._transport, NodeLabel, "/nodelabels", "accelerator_node_label")

    def usage(self, search: Mapping[str, str] | None = None) -> list[Usage]:
        """Workloads, those that ended included, with the reason where the platform knows it."""
        return listed(self._transport, Usage, "/usage", "usage_response", search=search)

    def quotas(self) -> list[Quota]:
        """What users may have, and have."""
        return listed(self._transport, Quota, "/usersquota", "user_quota")
