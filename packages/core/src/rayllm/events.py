"""What an observer is told: what a command did or saw, as typed, frozen values. No secret stands in any."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a deployment: the base of all events."""

    deployment: str
    """The deployment's name."""
    time: float = field(default_factory=time.time)
    """When, in seconds since 1970."""

    def to_json(self) -> dict[str, Any]:
        """All fields, and its type under `event`: `{"event": "ModelReady", "deployment": "demo", …}`."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade(Event):
    """A file was compared with what runs: by `plan`, and by the command `up` before it begins."""

    changes: Mapping[str, str]
    """What would happen to each model and to `gateway`, by name: `add`, `change`, `remove` or `keep`."""
    stops: tuple[str, ...] = ()
    """Names of what would be restarted or stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Event):
    """`up`: the cluster has taken the file. What is new in it begins to start now."""

    changes: Mapping[str, str]
    """What happens to each model and to `gateway`, by name: `add`, `change`, `remove` or `keep`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReady(Event):
    """`up` or `scale`: a model of the file serves, be it that it has served before."""

    model: str
    """Its name."""
    replicas: int
    """How many serve; 0 for a model that starts with the first request."""
    endpoint: str
    """Where OpenAI clients go: their `base_url`, with `/v1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed(Event):
    """`up` or `scale`: a model did not come up."""

    model: str
    """Its name."""
    message: str
    """What happened, in one sentence."""
    cause: str = ""
    """Why, in the engine's own words; empty where that is unknown."""
    cure: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled(Event):
    """`scale`: the cluster has taken another number of replicas. New ones begin to start now."""

    model: str
    """The model's name."""
    replicas: int
    """How many are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Event):
    """`down`: the deployment is gone, and its cluster if RayLLM made that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailed(Event):
    """`plan`, `up`, `scale` or `down` ended with an error."""

    command: str
    """Which of them."""
    message: str
    """What happened and where, in one sentence."""
    cause: str = ""
    """Why, where it is known."""
    cure: str = ""
    """What to do next."""
