"""What the kit has to be told of the platform that a backend talks to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any


class Platform(ABC):
    """The platform of a backend's tests, seen by somebody who does not use the backend.

    Nothing here may go through the backend: it is what its word is compared with.
    """

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """The `cluster.options` that the backend is opened with, as they would stand in a file."""

    @property
    def other_options(self) -> Mapping[str, Any] | None:
        """Options that make another cluster of it, such as one more node; None where there are none.

        `made` has to show the difference, unless the backend refuses to change a cluster that is there.
        """
        return None

    @abstractmethod
    def made(self, name: str) -> Collection[str]:
        """What there is now of the cluster `name`, one word for each thing; nothing once it is destroyed.

        Words such as `machine` or `address`, without numbers that differ from one cluster to the next: two clusters
        made with the same options give the same words, each as often.
        """

    @abstractmethod
    def broken(self, name: str) -> AbstractContextManager[None]:
        """While it is entered, the platform does not let the cluster `name` come up: a refusal, a quota, an outage."""

    @abstractmethod
    def secret(self, name: str, secret: str) -> tuple[str, int] | None:
        """What stands in the file of a secret on the nodes of the cluster `name`, and the file's mode; None if none."""
