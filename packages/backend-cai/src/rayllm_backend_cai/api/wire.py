"""How the API writes things: words with prefixes, numbers as text, an environment as a string of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

_PREFIXES = ("APPLICATION_", "ENGINE_")


def word(status: object) -> str:
    """`running` for `APPLICATION_RUNNING`, `ENGINE_RUNNING` and `running`; a word that is not known stays."""
    text = str(status)
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text.lower()


def read_environment(told: object) -> dict[str, str]:
    """An environment from the JSON text of a reply, or from the mapping of a request.

    Raises:
        ValueError: it is neither.
    """
    value = json.loads(told or "{}") if isinstance(told, str) else told
    if not isinstance(value, Mapping):
        raise ValueError("an environment is a mapping, or one as JSON")  # noqa: TRY004 - what pydantic turns into its own
    return {str(name): one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


def write_environment(environment: Mapping[str, str]) -> str:
    """An environment as PATCH wants it."""
    return json.dumps(dict(environment))


def segment(name: str) -> str:
    """A part of a path, whatever stands in it."""
    return quote(name, safe="")


Status = Annotated[str, BeforeValidator(word)]
Environment = Annotated[dict[str, str], BeforeValidator(read_environment)]
"""Fields of it are not shown when a record is printed: projects keep passwords there."""
Int64 = Annotated[int, BeforeValidator(lambda told: told or 0)]
"""A whole number that travels as text."""
Time = Annotated[datetime | None, BeforeValidator(lambda told: told or None)]


class Record(BaseModel):
    """What the API tells: keys that are new or absent are no error, null is as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, told: Any) -> Any:
        return {name: value for name, value in told.items() if value is not None} if isinstance(told, dict) else told


class Request(BaseModel):
    """What is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def body(self) -> dict[str, Any]:
        """As JSON. What is empty or zero is left to the platform, to which it means the same."""
        return _int64_as_text({name: value for name, value in self.model_dump(mode="json").items() if value})


def patch(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A change of what exists as JSON: other than in a `Request`, an environment is a string there."""
    told = _int64_as_text(changes)
    return {**told, "environment": write_environment(told["environment"])} if "environment" in told else told


def _int64_as_text(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name == "accelerator_label_id" else value for name, value in told.items()}
