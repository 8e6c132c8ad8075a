"""Projects."""

from __future__ import annotations

from collections.abc import Mapping

from rayllm_backend_cai.api.errors import NotFoundError
from rayllm_backend_cai.api.pages import listed, named
from rayllm_backend_cai.api.records import NewProject, Project
from rayllm_backend_cai.api.transport import Transport
from rayllm_backend_cai.api.wire import patch, segment


class Projects:
    """Projects of a workspace that this key's user sees."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def named(self, name: str) -> list[Project]:
        """Those of exactly this name, the newest first."""
        return named(listed(self._transport, Project, "/projects", "projects", search={"name": name}), name)

    def get(self, project: str) -> Project:
        """One by its id.

        Raises:
            NotFoundError: there is none.
        """
        return self._transport.read(Project, "GET", _path(project))

    def create(self, new: NewProject) -> Project:
        """Make one; its clone goes on after this. Ask `named` before: this finds its own by name after a fault."""

        def look() -> Project | None:
            return next(iter(self.named(new.name)), None)

        return self._transport.make(Project, "/projects", new.body(), look)

    def set_shared_memory(self, project: str, megabytes: int) -> Project:
        """How much /dev/shm those have that start from now on, beyond 64 MB."""
        return self._transport.read(Project, "PATCH", _path(project), json={"shared_memory_limit": megabytes})

    def merge_environment(self, project: str, changes: Mapping[str, str | None]) -> Project:
        """Set variables for all that starts in the project from now on; None takes one away.

        The platform only replaces all of them: what another writes between this call's read and its write is lost.
        """
        before = self.get(project)
        told = {**before.environment, **changes}
        after = {name: value for name, value in told.items() if value is not None}
        if after == before.environment:
            return before
        return self._transport.read(Project, "PATCH", _path(project), json=patch({"environment": after}))

    def delete(self, project: str) -> bool:
        """Delete it with its files; False if there was none."""
        return deleted(self._transport, _path(project))


def deleted(transport: Transport, path: str) -> bool:
    """Delete what is at `path`; False if it was gone."""
    try:
        transport.ask("DELETE", path)
    except NotFoundError:
        return False
    return True


def _path(project: str) -> str:
    return f"/projects/{segment(project)}"
