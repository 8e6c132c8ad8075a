"""The first step: is the key good for what it is needed for, and what is shown at the endpoint's log-in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rayllm.errors import InputError
from rayllm_backend_cai.api import CaiClient, KeyRefusedError
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.workspace import KEY, Workspace

APPLICATION_KEY = "CML_APPLICATION_KEY"
_SESSION_KEY = "CDSW_APIV2_KEY"
_FORBIDDEN = 403
_CURE = (
    "make a key with the audience Application (in the workspace: User Settings, API Keys) and set "
    f"{APPLICATION_KEY} to it; or bypass_authentication: true with gateway.keys"
)


@dataclass(frozen=True)
class Ingress:
    """How requests get past the workspace's log-in."""

    key: str = field(default="", repr=False)
    """An API v2 key with the audience Application; empty where no log-in is asked for."""
    variable: str = ""
    """The environment variable that holds it; empty where it is known from the options alone."""

    @property
    def headers(self) -> dict[str, str]:
        """For `Cluster.headers`."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def shown_headers(self) -> dict[str, str]:
        """For `Cluster.shown_headers`."""
        return {"authorization": f"Bearer {self.shown}"} if self.key else {}

    @property
    def shown(self) -> str:
        """The key as a person writes it in a shell, or has to replace it there."""
        return f"${self.variable}" if self.variable else "<application key>"


def ingress_of(options: CaiOptions, workspace: Workspace, env: Mapping[str, str] | None = None) -> Ingress:
    """What is shown to the ingress, by options and environment; asks nobody."""
    env = os.environ if env is None else env
    if options.bypass_authentication:
        return Ingress()
    key = options.application_key or env.get(APPLICATION_KEY, "") or workspace.key
    variables = (APPLICATION_KEY, KEY, _SESSION_KEY)
    return Ingress(key, next((name for name in variables if env.get(name) == key), ""))


def require_keys(client: CaiClient, ingress: Ingress) -> str:
    """Whose key it is, once all keys are good for what they are needed for.

    Raises:
        KeyRefusedError: the workspace does not take the key.
        InputError: nothing that is there would get past the log-in at the endpoint.
    """
    user = client.account.check_key("API").username
    if not ingress.key:
        return user
    own = ingress.key == client.workspace.key
    try:
        if own:
            client.account.check_key("Application")
        else:
            with CaiClient(replace(client.workspace, key=ingress.key)) as other:
                other.account.check_key("Application")
    except KeyRefusedError as error:
        if not own and error.status == _FORBIDDEN:  # one for applications alone may not ask the API at all
            return user
        option = "key" if own else "application_key"
        raise InputError(
            "the endpoint asks for the workspace's log-in, and "
            f"{ingress.variable or f'cluster.options.{option}'} would not be let in there",
            cause=error.said or error.message,
            cure=_CURE,
            topic="cai-key",
        ) from error
    return user
