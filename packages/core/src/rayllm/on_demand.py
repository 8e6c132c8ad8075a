"""Descriptors by name, whose plugins are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import TypeVar

DescriptorT = TypeVar("DescriptorT")


class Offered(MutableMapping[str, DescriptorT]):
    """What plugins offer of one kind, by name. A plugin is imported when something that it may offer is asked for.

    A look at one name imports the plugin whose entry point is called after it (`engine-vllm` for the engine `vllm`),
    and the others only if that one does not offer it; a look at all names imports every plugin.
    """

    def __init__(self, kind: str, seek: Callable[[str | None], None]) -> None:
        self._kind = kind
        self._seek = seek
        self._loaded: dict[str, DescriptorT] = {}

    def __getitem__(self, name: str) -> DescriptorT:
        if name not in self._loaded:
            self._seek(f"{self._kind}-{name}")
        if name not in self._loaded:
            self._seek(None)
        return self._loaded[name]

    def __setitem__(self, name: str, item: DescriptorT) -> None:
        self._loaded[name] = item

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        self._seek(None)
        return iter(self._loaded)

    def __len__(self) -> int:
        self._seek(None)
        return len(self._loaded)
