"""What nodes find on the project's disk: the script that they run, RayLLM's code, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from rayllm import Progress
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.bootstrap.code import NodeCode


class Disk:
    """A project's disk. Each file is written where it is missing or another one, else only looked at."""

    def __init__(self, client: CaiClient, project: str) -> None:
        self._client = client
        self._project = project

    def lay_code(self, run: bytes, code: NodeCode, progress: Progress) -> None:
        """The script of applications and jobs, and the code that it unpacks; both are named by that code's content.

        What runs already keeps the script that it was made with.
        """
        script, packed = shared.run_script(code.digest), shared.CODE / f"{code.digest}.zip"
        for path, content in ((packed, code.content), (script, run)):
            sizes = self._sizes(path.parent)
            if sizes.get(path.name) != len(content):
                progress("files", f"uploading RayLLM's code, {len(content) >> 10} KiB")
                self._client.files.upload(self._project, str(path), content, there=sizes, by_content=True)

    def lay_secrets(self, secrets: Mapping[str, str], progress: Progress) -> None:
        """The deployment's secrets. Those of other deployments in this project stay."""
        if not secrets:
            return
        sizes = self._sizes(shared.SECRETS)
        for name, value in secrets.items():
            self._lay(shared.SECRETS / name, value.encode(), sizes, progress)

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
