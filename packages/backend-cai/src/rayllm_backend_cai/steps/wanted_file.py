"""What a cluster should be, on the project's disk: at every moment there is a whole file of it to be found."""

from __future__ import annotations

from pathlib import PurePosixPath

from rayllm import ClusterError
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.shared import Wanted, cluster_folder, wanted_files


def stored_wanted(client: CaiClient, project: str, name: str) -> Wanted | None:
    """What the last `ensure` or `scale` wanted; None if there was none, or none that can be read."""
    return WantedFile(client, project, name).read()


class WantedFile:
    """One cluster's."""

    def __init__(self, client: CaiClient, project: str, name: str) -> None:
        self._client = client
        self._project = project
        self._name = name
        self._file, self._draft, _ = map(str, wanted_files(cluster_folder(name)))

    def read(self) -> Wanted | None:
        """What is wanted; None if there is nothing, or nothing that can be read."""
        return self._look()[0]

    def write(self, wanted: Wanted, before: Wanted | None) -> None:
        """Write what is wanted, where it is not written already. After a crash anywhere, the next call goes on.

        Args:
            wanted: what the cluster should be.
            before: what `wanted` was made from.

        Raises:
            ClusterError: somebody else has written something else since.
        """
        now, is_draft = self._look()
        if now not in (before, wanted):
            raise changed_meanwhile(self._name)
        if now is not None and is_draft:  # the next draft would take its place
            self._upload(self._file, now)
        if now == wanted:
            return
        if now is None:  # nothing is lost
            self._upload(self._file, wanted)
            return
        self._upload(self._draft, wanted)
        self._upload(self._file, wanted)
        self._client.files.delete(self._project, self._draft)

    def require(self, wanted: Wanted) -> None:
        """See that this is still what is wanted.

        Raises:
            ClusterError: somebody else has written something else.
        """
        if self.read() != wanted:
            raise changed_meanwhile(self._name)

    def _look(self) -> tuple[Wanted | None, bool]:
        """What is wanted, and whether the draft alone has it."""
        if found := self._read(self._file):
            return found, False
        there = {file.path for file in self._client.files.folder(self._project, str(cluster_folder(self._name)))}
        for path in (self._draft, self._file):
            if PurePosixPath(path).name in there and (found := self._read(path)):
                return found, path == self._draft
        return None, False

    def _read(self, path: str) -> Wanted | None:
        try:
            return Wanted.model_validate_json(self._client.files.download(self._project, path))
        except (NotFoundError, ValueError):  # a ValueError: it is being written, or whoever did was killed
            return None

    def _upload(self, path: str, wanted: Wanted) -> None:
        self._client.files.upload(self._project, path, wanted.model_dump_json(indent=1).encode() + b"\n")


def changed_meanwhile(name: str) -> ClusterError:
    """Somebody else has said what a cluster should be."""
    return ClusterError(
        f"what {name} should be was changed by somebody else meanwhile",
        cause="another rayllm up or rayllm nodes scale; theirs counts now",
        cure="see what it is now with rayllm nodes list; agree on who goes first, then do the same again",
        topic="another-operator",
    )
