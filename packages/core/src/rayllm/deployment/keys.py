"""API keys of a running deployment. A key is made here, and only its SHA-256 leaves this machine."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rayllm.cluster.admin_api import AdminApi
from rayllm.deployment.names import require_name
from rayllm.errors import InputError
from rayllm.serving.key_limits import KeyLimits, is_name

if TYPE_CHECKING:
    import builtins

    from rayllm.deployment.session import Session

KeyState = Literal["active", "expired", "revoked"]
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One API key. Limits that are None don't hold."""

    name: str
    """What it is called in lists, logs and metrics."""
    state: KeyState
    """`active`, or why it is refused: `expired`, `revoked`."""
    from_file: bool
    """True for one of `gateway.keys`, which `rayllm up` sets anew."""
    created: int
    """When it was made, or came with the file."""
    models: list[str] | None
    """Models and aliases it may use; null for all. An alias of these models alone is among them."""
    expires: int | None
    """When it ends."""
    requests_per_minute: int | None
    """Requests in any sliding minute."""
    concurrent_requests: int | None
    """Requests in flight."""
    tokens_per_minute: int | None
    """Tokens of prompts and answers in a minute."""
    tokens_per_day: int | None
    """The same for a day (UTC)."""
    revoked: int | None
    """When it was revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made. It is shown here and nowhere else."""

    name: str
    """What it is called in lists, logs and metrics."""
    key: str = field(repr=False)
    """What clients send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What one key used of one model."""

    key: str
    """The key's name; empty for requests without one."""
    model: str
    """The model that answered; empty where none was reached."""
    requests: int
    """All of them, refused ones too."""
    errors: int
    """Those of them that ended with a status from 400, or broke off."""
    prompt_tokens: int
    """Tokens of what was asked."""
    completion_tokens: int
    """Tokens of what was answered."""
    estimated: int
    """Requests whose tokens no engine reported."""


class Keys:
    """The API keys of a deployment, `RayLLM.keys`. Each call asks the cluster anew.

    A change counts when the call returns. All raise `ClusterError` where the cluster is not ready or the gateway does
    not answer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> builtins.list[ApiKey]:
        """Every key, by name; revoked ones too."""
        with self._admin() as admin:
            return [_shown(told) for told in admin.ask("GET", "/keys")["keys"]]

    def add(
        self,
        name: str,
        *,
        models: Sequence[str] | None = None,
        expires_s: float | None = None,
        requests_per_minute: int | None = None,
        concurrent_requests: int | None = None,
        tokens_per_minute: int | None = None,
        tokens_per_day: int | None = None,
    ) -> NewKey:
        """Make a key. It is in the answer and nowhere else: whoever loses it needs another one.

        Args:
            name: what it is called in lists, logs and metrics; letters, digits, `.`, `_` and `-`.
            models: names in the file, of models or aliases, that it may use; all if left out.
            expires_s: seconds until it ends.
            requests_per_minute: requests in any sliding minute.
            concurrent_requests: requests in flight.
            tokens_per_minute: tokens of prompts and answers in a minute.
            tokens_per_day: the same for a day (UTC).

        Raises:
            InputError: there is a key of that name, no such model, or a limit that is none.
        """
        self._require(name, models)
        try:
            limits = KeyLimits.from_json(
                {
                    "models": None if models is None else [*models],
                    "expires": None if expires_s is None else int(time.time() + expires_s),
                    "requests_per_minute": requests_per_minute,
                    "concurrent_requests": concurrent_requests,
                    "tokens_per_minute": tokens_per_minute,
                    "tokens_per_day": tokens_per_day,
                }
            )
        except ValueError as wrong:
            raise InputError(str(wrong)) from None
        made = new_key()
        with self._admin() as admin:
            admin.ask("POST", "/keys", json={"name": name, "digest": digest_of(made), **limits.to_json()})
        return NewKey(name=name, key=made)

    def rotate(self, name: str, *, grace_s: int = 0) -> NewKey:
        """Make another key under this name, with the same limits.

        Args:
            name: the key's.
            grace_s: seconds for which the old one is good, too; 90 days at most.

        Raises:
            InputError: there is no such key, it was revoked, or it is one of the file's.
        """
        made = new_key()
        with self._admin() as admin:
            admin.ask("POST", f"/keys/{_path(name)}/rotate", json={"digest": digest_of(made), "grace_s": grace_s})
        return NewKey(name=name, key=made)

    def revoke(self, name: str) -> ApiKey:
        """Refuse a key from now on; requests in flight are finished.

        Raises:
            InputError: there is no such key.
        """
        with self._admin() as admin:
            return _shown(admin.ask("DELETE", f"/keys/{_path(name)}"))

    def usage(self, name: str | None = None, *, days: int = 30) -> builtins.list[KeyUsage]:
        """What was used, by key and model.

        Args:
            name: of one key; all if left out.
            days: today (UTC) and as many days before as make so many.

        Raises:
            InputError: `days` is less than 1.
        """
        if days < 1:
            raise InputError(f"{days} days can't be looked back", cure="at least 1: today")
        since = (int(time.time()) // DAY_S - days + 1) * DAY_S
        with self._admin() as admin:
            told = admin.ask("GET", "/usage", params={"since": since, "by": "key,model"})["usage"]
        names = KeyUsage.__dataclass_fields__
        rows = [KeyUsage(**{field: row[field] for field in names}) for row in told]
        return [row for row in rows if name in {None, row.key}]

    def _require(self, name: str, models: Sequence[str] | None) -> None:
        if not is_name(name):
            raise InputError(f"{name!r} can't be a key's name", cure="letters, digits, `.`, `_` and `-`, at most 80")
        for model in models or ():
            require_name(self._session, model)

    @contextmanager
    def _admin(self) -> Iterator[AdminApi]:
        admin = AdminApi(self._session.find_ready())
        try:
            yield admin
        finally:
            admin.close()


def new_key() -> str:
    """A key that nobody can guess: 256 bits."""
    return f"sk-rayllm-{secrets.token_urlsafe(32)}"


def digest_of(key: str) -> str:
    """What the gateway knows it by."""
    return hashlib.sha256(key.encode()).hexdigest().upper()


def _path(name: str) -> str:
    if not is_name(name):
        raise InputError(f"there is no key {name}", cure="those there are: rayllm keys list")
    return name


def _shown(told: dict[str, Any]) -> ApiKey:
    state: KeyState = "revoked" if told["revoked"] else "active"
    if state == "active" and told["expires"] and told["expires"] <= time.time():
        state = "expired"
    return ApiKey(state=state, **{name: told[name] for name in ApiKey.__dataclass_fields__ if name != "state"})
