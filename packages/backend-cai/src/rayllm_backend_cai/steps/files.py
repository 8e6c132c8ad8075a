"""What nodes find on the project's disk: the script that they run, RayLLM's code, secrets, and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from rayllm import Progress
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.bootstrap.code import NodeCode
from rayllm_backend_cai.steps.wanting import WANTED


class Disk:
    """A project's disk. Each file is written where it is missing or another one, else only looked at."""

    def __init__(self, client: CaiClient, project: str) -> None:
        self._client = client
        self._project = project

    def lay_code(self, run: bytes, code: NodeCode, progress: Progress) -> None:
        """The script of every application and job, and the code that it unpacks."""
        self._lay(shared.RUN, run, self._sizes(shared.HOME), progress)
        packed = shared.CODE / f"{code.digest}.zip"
        if self._sizes(shared.CODE).get(packed.name) != len(code.content):  # named by its content
            progress("files", f"uploading RayLLM's code, {len(code.content) >> 10} KiB")
            self._client.files.upload(self._project, str(packed), code.content)

    def lay_secrets(self, secrets: Mapping[str, str], progress: Progress) -> None:
        """The deployment's secrets. Those of other deployments in this project stay."""
        if not secrets:
            return
        sizes = self._sizes(shared.SECRETS)
        for name, value in secrets.items():
            self._lay(shared.SECRETS / name, value.encode(), sizes, progress)

    def write_wanted(self, wanted: shared.Wanted, stored: shared.Wanted | None) -> None:
        """What the cluster should be, if it is not so written already."""
        if wanted != stored:
            path = shared.cluster_folder(wanted.name) / WANTED
            self._client.files.upload(self._project, str(path), wanted.model_dump_json(indent=1).encode() + b"\n")

    def read(self, path: PurePosixPath) -> bytes | None:
        """A file's content; None if there is none."""
        try:
            return self._client.files.download(self._project, str(path))
        except NotFoundError:
            return None

    def _sizes(self, folder: PurePosixPath) -> dict[str, int]:
        return {file.path: file.file_size for file in self._client.files.folder(self._project, str(folder))}

    def _lay(self, path: PurePosixPath, content: bytes, sizes: Mapping[str, int], progress: Progress) -> None:
        """Contents are compared, not digests of them: who may read a digest could try values."""
        if sizes.get(path.name) == len(content) and self.read(path) == content:
            return
        progress("files", f"writing {path}")
        self._client.files.upload(self._project, str(path), content)
