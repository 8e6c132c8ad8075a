"""Files of a project, which lie under /home/cdsw in all that runs there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from tenacity import retry_if_exception

from rayllm.errors import InputError
from rayllm_backend_cai.api.errors import CaiError, NotFoundError, UnavailableError
from rayllm_backend_cai.api.records import FileInfo
from rayllm_backend_cai.api.transport import CREATE_S, Transport
from rayllm_backend_cai.api.wire import Record, segment

UPLOADS = 3
"""How often an upload is tried that was stored under another name."""
_BAD_REQUEST = 400


class _Files(Record):
    files: list[FileInfo] = []  # noqa: RUF012 - pydantic copies it


class Files:
    """Files of projects; paths are below the project's folder."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def folder(self, project: str, path: str = ".") -> list[FileInfo]:
        """What is in a folder, by names alone; empty if there is no such folder."""
        try:
            return self._transport.read(_Files, "GET", _path(project, path)).files
        except NotFoundError:
            return []

    def upload(
        self,
        project: str,
        path: str,
        content: bytes,
        *,
        there: Collection[str] | None = None,
        by_content: bool = False,
    ) -> None:
        """Write a file, whatever is there.

        The platform never overwrites: it stores `name(1).txt` beside and says nothing. So what is there goes first, and
        the folder is looked at afterwards; what was stored under another name is taken away again. For a moment there
        is no such file: do not write over what may be read meanwhile.

        Args:
            project: its id.
            path: of the file.
            content: all of it.
            there: the names in its folder, where they were listed just now.
            by_content: the name tells the content, so that what somebody else writes there meanwhile is the same.

        Raises:
            InputError: the path leads out of the project.
            CaiError: it was refused, or is still not there.
        """
        clean = _clean(path)
        parent, name = str(PurePosixPath(clean).parent), PurePosixPath(clean).name
        for _ in range(UPLOADS):
            before = {file.path for file in self.folder(project, parent)} if there is None else set(there)
            there = None
            if name in before:
                self.delete(project, clean)
            fault = self._post(project, clean, content)
            after = {file.path: file for file in self.folder(project, parent)}
            stored = after.get(name)
            strays = [other for other in after.keys() - before if other != name and _is_copy(other, name)]
            for stray in strays:
                self.delete(project, str(PurePosixPath(parent, stray)))
            is_theirs = strays and name not in before and not by_content  # the first list had it not yet
            if stored and stored.file_size == len(content) and not is_theirs:
                return
        raise fault or CaiError(
            f"{path} was uploaded {UPLOADS} times to project {project}, and is not there with its {len(content)} bytes",
            cure="does something else write to the same path? Look at the project's files in the workspace",
        )

    def _post(self, project: str, path: str, content: bytes) -> UnavailableError | None:
        """Send the content; a fault that leaves open whether it was stored is returned: the folder tells."""
        name = PurePosixPath(path).name
        surely_not = retry_if_exception(lambda error: isinstance(error, UnavailableError) and not error.unclear)
        send = self._transport.policy.copy(retry=surely_not)
        destination = {path: (name, content)}  # the field's name is the path
        try:
            send(
                self._transport.send, "POST", f"/projects/{segment(project)}/files", files=destination, timeout=CREATE_S
            )
        except UnavailableError as error:
            if error.unclear:
                return error
            raise
        return None

    def download(self, project: str, path: str) -> bytes:
        """A file's content.

        Raises:
            NotFoundError: there is none.
        """
        return self._transport.ask("POST", _path(project, path) + ":download").content

    def rename(self, project: str, path: str, to: str) -> FileInfo:
        """Give a file another path."""
        return self._transport.read(FileInfo, "PATCH", _path(project, path), json={"path": _clean(to)})

    def delete(self, project: str, path: str) -> bool:
        """Delete a file or folder; False if there was none."""
        try:
            self._transport.ask("DELETE", _path(project, path))
        except NotFoundError:
            return False
        except CaiError as error:  # some workspaces answer so where there is none
            if error.status == _BAD_REQUEST:
                return False
            raise
        return True


def _is_copy(other: str, name: str) -> bool:
    """Whether this is how the platform names a file beside another: `name(1).txt`."""
    path = PurePosixPath(name)
    return other.startswith(f"{path.stem}(") and other.endswith(f"){path.suffix}")


def _clean(path: str) -> str:
    """The path as the platform takes it.

    Raises:
        InputError: it leads out of the project's folder.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(
            f"{path} is no path inside the project", cure="write it from the project's folder: app/main.py"
        )
    return str(parts)


def _path(project: str, path: str) -> str:
    clean = _clean(path)
    whole = "/" if clean == "." else clean  # a dot alone would be taken out of the address
    return f"/projects/{segment(project)}/files/{segment(whole)}"
