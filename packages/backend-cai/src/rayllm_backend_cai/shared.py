"""What operator and nodes share: files on the project's disk, and how applications tell what they are.

Below `.rayllm/` of the project, which is `RAYLLM_HOME` of every node:

    run-DIGEST.py                 what jobs and applications run: unpacks `code/DIGEST.zip`, hands over to a Python
    code/DIGEST.zip, code/DIGEST/ RayLLM's and this backend's code; uploaded by the operator, unpacked by `run.py`
    serving/DIGEST/               the Python environment of the nodes; `ready.json` is written last
    serving/DIGEST.json           what is to be in it; uploaded by the operator for the job that makes it
    secrets/NAME                  the deployment's secrets
    clusters/NAME/wanted.json     what the cluster should be (`Wanted`); written by the operator alone; meanwhile it is
                                  in `wanted.next.json` (`wanted_files`)
    clusters/NAME/head.json       where the head is (`HeadRecord`); written by the head alone
    clusters/NAME/token           Ray's token; made by the head's first start
    clusters/NAME/gcs/            Ray's own records, by which a new head goes on where the last one ended
    clusters/NAME/keeper.json     what the head does about the workers, and why (`KeeperRecord`); written by it alone
    clusters/NAME/nodes/NODE.json what a node says of itself (`NodeRecord`); written by it alone
    clusters/NAME/nodes/NODE.pod  the pod that is the node: the one that started last; earlier ones end when they see it
    clusters/NAME/logs/NODE/      logs of a node's programs
    clusters/NAME/environment.json how the job goes that makes environments; its log is `logs/environment.log`
    clusters/NAME/preparations/   the models whose engines' environments that job makes, by digest
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from rayllm_backend_cai.bootstrap.drafts import write_whole

if TYPE_CHECKING:
    from typing_extensions import Self

Folder = TypeVar("Folder", Path, PurePosixPath)
HOME = PurePosixPath(".rayllm")
"""Below the project's folder."""
CODE = HOME / "code"
SERVING = HOME / "serving"
SECRETS = HOME / "secrets"
READY = "ready.json"

# Environment variables of applications and jobs. Whoever may see the project can read them: no secret is among them.
TASK = "RAYLLM_CAI_TASK"
"""`head`, `worker` or `environment`."""
CLUSTER = "RAYLLM_CAI_CLUSTER"
GROUP = "RAYLLM_CAI_GROUP"
NODE = "RAYLLM_CAI_NODE"
"""The node's name, which is the application's and Ray's name of the node."""
CODE_DIGEST = "RAYLLM_CAI_CODE"
SERVING_DIGEST = "RAYLLM_CAI_SERVING"
POLLING = "CDSW_APP_POLLING_ENDPOINT"
"""The platform's own: the path that has to answer 200."""
HEALTH = "/health"


def cluster_folder(name: str) -> PurePosixPath:
    """The folder of the cluster `name`, below the project's."""
    return HOME / "clusters" / name


def run_script(code: str) -> PurePosixPath:
    """What an application or job with this code runs; each keeps the one that it was made with."""
    return HOME / f"run-{code}.py"


def head_name(cluster: str) -> str:
    """Name of the head's application."""
    return cluster


def worker_name(cluster: str, group: str, number: int) -> str:
    """Name of a worker's application; numbers count from 1, and the lowest that is free is taken."""
    return f"{cluster}-{group}-{number}"


class _Kept(BaseModel):
    """A record in JSON; fields of another version are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in a file on this machine; None where there is none.

        Raises:
            ValueError: the file is no such record.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, path: Path) -> None:
        """Keep it in a file, readable by this user alone; readers see the old or the new one."""
        write_whole(path, self.model_dump_json(indent=1) + "\n")


class Shape(_Kept):
    """What one application has."""

    cpus: float
    memory: float
    """GB, as the platform counts."""
    gpus: int = 0
    accelerator: str = ""
    """As Ray calls it, where it is known: `L40S`."""
    accelerator_label: int = 0
    """The platform's id of it; 0 for its default."""
    runtime: str
    """Image."""


class Group(Shape):
    """Workers that are alike."""

    min: int
    max: int
    """Equal to `min` where the number is fixed."""


class Wanted(_Kept):
    """What a cluster should be."""

    name: str
    subdomain: str
    bypass_authentication: bool = False
    code: str
    """Digest in `code/`."""
    serving: str
    """Digest in `serving/`."""
    head: Shape
    groups: dict[str, Group] = Field(default_factory=dict)
    idle_minutes: float = 5


def wanted_files(folder: Folder) -> tuple[Folder, Folder, Folder]:
    """Where a cluster's `Wanted` is, in its folder: the first of these that is there and whole.

    The platform can't overwrite: the draft is whole before the file goes, and goes when the file is whole again. So the
    file is looked for once more after the draft.
    """
    file, draft = folder / "wanted.json", folder / "wanted.next.json"
    return file, draft, file


class HeadRecord(_Kept):
    """Where the head is; a new one is written at every start of the head."""

    epoch: str
    """Unlike that of any other start."""
    address: str
    """Of the pod."""
    gcs_port: int
    serve_port: int
    """Of Serve's own proxy, on the pod's loopback; the same over all starts."""
    since: float
    """Seconds since 1970."""


class NodeRecord(_Kept):
    """What a node's supervisor says of itself."""

    state: Literal["starting", "ready", "waiting", "leaving", "failed"]
    """`waiting`: there is no head to join."""
    reason: str = ""
    since: float
    """Seconds since 1970 when it came into this state."""
    engine: str = ""
    """The platform's id of the pod."""
    address: str = ""


class Event(_Kept):
    """Something that happened to a worker."""

    at: float
    """Seconds since 1970."""
    node: str
    """The application's name; the group's where it has none yet, and empty where all of them are meant."""
    text: str


class Hold(_Kept):
    """Why nothing is made in a group for a while."""

    reason: str
    since: float
    """Seconds since 1970 when this began."""
    again: float
    """Seconds since 1970 when it is tried again."""
    count: int = 1
    """How often in a row."""


class Leaving(_Kept):
    """A worker that is to go."""

    name: str
    reason: str
    since: float
    until: float
    """Seconds since 1970 when its work is no longer waited for."""
    idle: bool = False
    """It goes only if it has no work, and stays if it was given some meanwhile."""


EVENTS = 100
"""How many events are kept."""


class KeeperRecord(_Kept):
    """What the head does about the workers. A new head goes on from here."""

    trouble: str = ""
    """Why nothing can be done at all: the platform does not answer, or takes no key."""
    stuck: bool = False
    """Whether the trouble stays until somebody does something about it."""
    made: dict[str, str] = Field(default_factory=dict)
    """Ids of the workers' applications, by name, that were made or found."""
    leaving: dict[str, Leaving] = Field(default_factory=dict)
    """By the application's id."""
    refused: dict[str, Hold] = Field(default_factory=dict)
    """Groups of which the platform makes no application: quota, for example."""
    failing: dict[str, Hold] = Field(default_factory=dict)
    """Groups whose applications end soon after their start."""
    events: list[Event] = Field(default_factory=list)
    """The last `EVENTS`, the newest last."""


def keeper_file(folder: Folder) -> Folder:
    """Where the `KeeperRecord` is, in a cluster's folder."""
    return folder / "keeper.json"
