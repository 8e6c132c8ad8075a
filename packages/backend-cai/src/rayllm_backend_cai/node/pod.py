"""What a pod knows of itself, and its folders."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm_backend_cai import shared

MARKER = "cai"
"""Beginning of `RAYLLM_OWNER` of every process of a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One application's pod."""

    task: str
    """`head` or `worker`."""
    cluster: str
    node: str
    """The application's name, which is Ray's name of the node."""
    group: str
    """Of a worker; empty for the head."""
    home: Path
    """`RAYLLM_HOME`, on the project's disk."""
    engine: str
    """The platform's id of the pod: no other start has it."""
    address: str
    ports: tuple[int, ...]
    """Where the platform's ingress leads to, in this order."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Pod:
        """What the platform and the application's own variables tell.

        Raises:
            KeyError: it is no pod of a cluster.
        """
        return cls(
            task=environ[shared.TASK],
            cluster=environ[shared.CLUSTER],
            node=environ[shared.NODE],
            group=environ.get(shared.GROUP, ""),
            home=Path(environ["RAYLLM_HOME"]),
            engine=environ["CDSW_ENGINE_ID"],
            address=environ["CDSW_IP_ADDRESS"],
            ports=tuple(int(environ[name]) for name in ("CDSW_APP_PORT", "CDSW_READONLY_PORT") if name in environ),
        )

    @property
    def folder(self) -> Path:
        """The cluster's, on the project's disk."""
        return self.home / "clusters" / self.cluster

    @property
    def wanted(self) -> tuple[Path, ...]:
        """What the cluster should be: the first of these that is there."""
        return shared.wanted_files(self.folder)

    @property
    def head(self) -> Path:
        """Where the head is."""
        return self.folder / "head.json"

    @property
    def token(self) -> Path:
        """Ray's token, a secret."""
        return self.folder / "token"

    @property
    def storage(self) -> Path:
        """Ray's own records."""
        return self.folder / "gcs"

    @property
    def record(self) -> Path:
        """What this node says of itself."""
        return self.folder / "nodes" / f"{self.node}.json"

    @property
    def claim(self) -> Path:
        """Which pod is this node: the id of the one that started last."""
        return self.folder / "nodes" / f"{self.node}.pod"

    @property
    def logs(self) -> Path:
        """On the project's disk, for the operator."""
        return self.folder / "logs" / self.node

    @property
    def local(self) -> Path:
        """This pod's own folder: short, since the paths of Unix sockets are, which a shared disk can't hold."""
        return Path("/tmp") / f"rl-{self.engine}"  # noqa: S108  made with a check

    @property
    def run(self) -> Path:
        """`RAYLLM_RUN`: sockets and locks of this pod."""
        return self.local / "run"

    @property
    def ray(self) -> Path:
        """Ray's own folder."""
        return self.local / "ray"

    def make_local(self) -> None:
        """Make the pod's own folders.

        Raises:
            ClusterError: somebody else could enter them.
        """
        self.local.mkdir(mode=0o700, exist_ok=True)
        found = self.local.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ClusterError(f"{self.local} is not a folder that only this user can enter")
        self.run.mkdir(mode=0o700, exist_ok=True)

    def remove_local(self) -> None:
        """Remove them: where a pod is no container, its end leaves them behind."""
        shutil.rmtree(self.local, ignore_errors=True)
