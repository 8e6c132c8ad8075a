"""What an API key may do, as the operator's side tells it and the gateway keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

KEY_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9])?", re.ASCII)
"""A key's name: it stands in logs, metrics and maps, the key does not."""
_DIGEST = re.compile(r"[0-9A-F]{64}", re.ASCII)
_MOST = 1 << 40
_MOST_MODELS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What one API key may do. What is None is not bounded."""

    models: tuple[str, ...] | None = None
    """Models and aliases it may use; None for all."""
    expires: int | None = None
    """When it ends, in seconds since 1970."""
    requests_per_minute: int | None = None
    """Requests in any sliding minute."""
    concurrent_requests: int | None = None
    """Requests in flight."""
    tokens_per_minute: int | None = None
    """Tokens of prompts and answers in a minute; what is in flight when they are used up is finished."""
    tokens_per_day: int | None = None
    """The same for a day, which begins at 0:00 UTC."""

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> KeyLimits:
        """Read what `to_json` wrote; other names are left out.

        Raises:
            ValueError: a value that is none; it says which.
        """
        models = told.get("models")
        listed = isinstance(models, list | tuple) and len(models) <= _MOST_MODELS
        if models is not None and not (listed and all(isinstance(name, str) and is_name(name) for name in models)):
            raise ValueError("models has to be a list of names")
        numbers = {field.name: told.get(field.name) for field in fields(cls) if field.name != "models"}
        for name, value in numbers.items():
            if value is not None and (type(value) is not int or not 0 < value < _MOST):
                raise ValueError(f"{name} has to be a whole number from 1")
        return cls(models=None if models is None else tuple(models), **numbers)


def is_name(text: str) -> bool:
    """Whether a key, a model or an alias can be called so."""
    return bool(KEY_NAME.fullmatch(text))


def is_digest(text: object) -> bool:
    """Whether it is a SHA-256 in upper-case hexadecimal digits."""
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))
