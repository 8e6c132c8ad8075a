"""Applications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayllm_backend_cai.api.pages import listed, named
from rayllm_backend_cai.api.projects import deleted
from rayllm_backend_cai.api.records import Application, NewApplication
from rayllm_backend_cai.api.transport import Transport
from rayllm_backend_cai.api.wire import patch, segment


class Applications:
    """Applications of projects. The platform restarts none that has ended."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self, project: str, search: Mapping[str, str] | None = None) -> list[Application]:
        """All of a project, or those whose fields have these parts; a status is searched by its bare word."""
        return listed(self._transport, Application, _path(project), "applications", search=search)

    def named(self, project: str, name: str) -> list[Application]:
        """Those of exactly this name, the newest first."""
        return named(self.all(project, {"name": name}), name)

    def get(self, project: str, application: str) -> Application:
        """One by its id.

        Raises:
            NotFoundError: there is none.
        """
        return self._transport.read(Application, "GET", _path(project, application))

    def create(self, project: str, new: NewApplication) -> Application:
        """Make and start one. Ask `named` before: this finds its own by name after a fault."""

        def look() -> Application | None:
            return next(iter(self.named(project, new.name)), None)

        return self._transport.make(Application, _path(project), new.body(), look)

    def update(self, project: str, application: str, **changes: Any) -> Application:
        """Change fields of `NewApplication`; they count from the next start on. The whole environment goes."""
        return self._transport.read(Application, "PATCH", _path(project, application), json=patch(changes))

    def stop(self, project: str, application: str) -> Application:
        """Stop it; it is `stopping` for a while."""
        return self._transport.read(Application, "POST", _path(project, application) + ":stop")

    def restart(self, project: str, application: str) -> Application:
        """Start it, anew if it runs: its processes begin again, at another address of the cluster.

        Never while it is `starting`: the platform may leave the first start's processes behind.
        """
        before = self.get(project, application).starting_at

        def look() -> Application | None:
            now = self.get(project, application)
            return now if now.starting_at != before else None

        return self._transport.make(Application, _path(project, application) + ":restart", None, look)

    def delete(self, project: str, application: str) -> bool:
        """Delete it; False if there was none. Lists may show it for a while."""
        return deleted(self._transport, _path(project, application))


def _path(project: str, application: str | None = None) -> str:
    path = f"/projects/{segment(project)}/applications"
    return path if application is None else f"{path}/{segment(application)}"
