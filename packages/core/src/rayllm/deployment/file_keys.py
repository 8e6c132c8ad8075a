"""The file's API keys: told to the gateway by `up`, and shown to it by what asks from this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rayllm.config.schema import SecretSource
from rayllm.deployment.keys import digest_of
from rayllm.errors import ClusterError, InputError, RayllmError

if TYPE_CHECKING:
    from rayllm.backends import Progress
    from rayllm.cluster.admin_api import AdminApi
    from rayllm.config import Checked

_TRIES_S = 15.0
"""A gateway that has just been replaced answers within seconds."""
_PAUSE_S = 0.3


class FileKeys:
    """Tells the gateway which keys the file has.

    Args:
        checked: the file.
        admin: the gateway's admin API.
        progress: is told how many there are.
    """

    def __init__(self, checked: Checked, admin: AdminApi, progress: Progress) -> None:
        self._source = checked.config.gateway.keys
        self._digests = {name: digest_of(key) for name, key in checked.keys.items()}
        self._admin = admin
        self._progress = progress
        self._told = False

    def try_to_tell(self) -> None:
        """Tell them if the gateway answers and has not been told: clients need not wait for the last model."""
        if not self._told:
            try:
                self._tell()
            except RayllmError:
                return  # it may be on its way; `tell` insists

    def tell(self) -> None:
        """Tell them to the gateway that is there at last: until now, it may have been one that made way.

        Raises:
            ClusterError: it did not take them.
            InputError: one of them is a key that was added under another name.
        """
        end = time.monotonic() + _TRIES_S
        while True:
            try:
                self._tell()
            except ClusterError:
                if time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return

    def _tell(self) -> None:
        good = self._admin.ask("PUT", "/keys", json={"keys": self._digests})["keys"]
        if self._source is not None and not self._told:
            self._progress("keys", self._words(good), done=True)
        self._told = True

    def _words(self, good: int) -> str:
        if isinstance(self._source, SecretSource):
            return f"{len(self._digests)} from {self._source.env or self._source.file}"
        return f"required, {good} there" if good else "required, none yet: rayllm keys add NAME"


def key_headers(checked: Checked) -> Mapping[str, str]:
    """What a request from this machine shows the gateway; nothing where it needs no key and there is none.

    Both headers: some platforms take `Authorization` for themselves, and then `Cluster.headers` has it.

    Raises:
        InputError: the gateway wants a key and there is none here, or it can't stand in a header.
    """
    key = checked.api_key
    if not key:
        if checked.config.gateway.keys is None:
            return {}
        raise InputError(
            "the endpoint wants an API key, and there is none here",
            cure="export RAYLLM_API_KEY=…; a new one: rayllm keys add NAME",
            topic="api-key",
        )
    return headers_of(key)


def headers_of(key: str) -> Mapping[str, str]:
    """What a request with this key shows the gateway.

    Raises:
        InputError: it can't stand in a header.
    """
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError("the API key holds a space, a line break or a letter beyond ASCII", topic="api-key")
    return {"authorization": f"Bearer {key}", "x-api-key": key}
