"""Deploying from inside Cloudera AI: what jobs of the project do, one after the other.

The scripts in `examples/cai/` call it. They run with the session's own Python, where RayLLM is installed; workspace,
key and project are the session's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from rayllm import RayLLM
from rayllm.entry_points import GROUP
from rayllm.errors import ClusterError, InputError, RayllmError
from rayllm.paths import home
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Job, NewJob, Runtime
from rayllm_backend_cai.bootstrap.journal import RECORD
from rayllm_backend_cai.bootstrap.unpacking import unpacked
from rayllm_backend_cai.checks import workspace_of
from rayllm_backend_cai.environment_job import Environments
from rayllm_backend_cai.environment_run import POLL_S, Record
from rayllm_backend_cai.kept_job import keep_job
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.steps.bringing_up import lay
from rayllm_backend_cai.steps.nodes import Place
from rayllm_backend_cai.steps.project import ensure_project
from rayllm_backend_cai.steps.wanted_file import stored_wanted
from rayllm_backend_cai.workspace import Workspace

FILE = "rayllm.yaml"
STEPS = ("sync", "environment", "launch")
"""What the jobs are for, and what their scripts are called; each starts when the one before has succeeded."""
CPUS, MEMORY_GB = 2, 8
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_REQUIREMENTS = Path("requirements.txt")
_LAST_LINES = 10


def make_jobs(file: str = FILE, *, scripts: str = "cai", runtime: str = "") -> list[Job]:
    """Make the jobs `NAME-1-sync`, `NAME-2-environment` and `NAME-3-launch` of this project, or bring them up to date.

    Args:
        file: the deployment's, which gives NAME; a path below the project's folder, as `scripts`.
        scripts: the folder with `sync.py`, `environment.py` and `launch.py`.
        runtime: image that they run in; by default the newest with this session's version of Python, since RayLLM is
            installed for that one.

    Raises:
        InputError: this is no session of the platform's.
        ClusterError: there is no such runtime.
        CaiError: the platform refuses something, as a script that there is not.
    """
    project = _project()
    if not project:
        raise InputError("this is no session of Cloudera AI", cure="run it in a session of the project")
    name = RayLLM.from_file(file).name
    jobs: list[Job] = []
    with CaiClient(Workspace.find()) as client:
        image = runtime or _runtime(client.account.runtimes()).image_identifier
        for number, step in enumerate(STEPS, 1):
            new = NewJob(
                name=f"{name}-{number}-{step}",
                script=f"{scripts}/{step}.py",
                runtime_identifier=image,
                parent_id=jobs[-1].id if jobs else "",
                cpu=CPUS,
                memory=MEMORY_GB,
            )
            jobs.append(keep_job(client, project, new))
    return jobs


def sync() -> None:
    """Bring the project's files up to date from git, then RayLLM's packages of this Python with pip.

    With a `requirements.txt` in the project that one is installed, else the newest of every plugin that is here.

    Raises:
        RayllmError: one of them fails; with its last words.
    """
    if Path(".git").exists():
        _run("git", "pull", "--ff-only")
    else:
        show("sync", "the project's folder is no clone: its files stay as they are")
    names = sorted({point.dist.name for point in entry_points(group=GROUP) if point.dist})
    what = ["-r", str(_REQUIREMENTS)] if _REQUIREMENTS.exists() else names
    _run(sys.executable, "-m", "pip", "install", "--upgrade", *what)


def make_environments(file: str = FILE) -> None:
    """Make the environments of nodes and engines that are not there yet.

    That is done in this pod where it has the project's disk and the nodes' version of Python, else by a job of its own.

    Raises:
        RayllmError: one can't be made; with cause and cure. What is made stays.
    """
    session = RayLLM.from_file(file).session
    options = session.checked.backend_options
    if not isinstance(options, CaiOptions):
        raise InputError(f"{file} deploys with the backend {session.checked.backend.name}, which has no such step")
    spec = session.spec()
    with CaiClient(workspace_of(options)) as client:
        project = ensure_project(client, options, spec.name, show)
        place = Place(client, project.id, spec.name)
        wanted, serving = lay(place, options, spec, stored_wanted(client, project.id, spec.name), show)
        environments = Environments(client, project.id, wanted, serving, spec.preparation)
        if project.id == _project() and serving.python == _PYTHON:
            _make_here(environments)
            show("environment", "ready", done=True)
        else:
            environments.ensure(show, POLL_S)


def launch(file: str = FILE) -> None:
    """Make it so, as `rayllm up` does, without a question.

    Raises:
        RayllmError: it fails; the next run goes on there.
    """
    llm = RayLLM.from_file(file)
    status = llm.up(show)
    show("endpoint", f"{status.gateway_url}/v1", done=True)


def show(step: str, detail: str, *, done: bool = False) -> None:
    """A `rayllm.Progress` for the log of a job."""
    print(f"{'✔' if done else '·'} {step}  {detail}", flush=True)  # noqa: T201 - the job's log


def _project() -> str:
    """The id of the project whose disk this pod has; empty outside of the platform."""
    return os.environ.get("CDSW_PROJECT_ID", "")


def _make_here(environments: Environments) -> None:
    """Run the job's program.

    Raises:
        ClusterError: it failed; with its own last words.
    """
    if environments.there():
        return
    environments.upload()
    told = environments.new_job().environment
    program = unpacked(told[shared.CODE_DIGEST]) / "rayllm_backend_cai/bootstrap/build.py"
    try:
        _run(sys.executable, "-u", str(program), **told)
    except RayllmError:
        record = Record.model_validate_json((home() / "clusters" / told[shared.CLUSTER] / RECORD).read_bytes())
        if record.error is None:
            raise
        raise record.error.raised() from None


def _runtime(runtimes: Sequence[Runtime]) -> Runtime:
    kernel = f"Python {_PYTHON}"
    fits = [one for one in runtimes if one.status == "enabled" and one.kernel.startswith(kernel)]
    if not fits:
        raise ClusterError(
            f"no enabled runtime of this workspace has {kernel}", cure="name an image: make_jobs(…, runtime=…)"
        )
    editor, edition = os.environ.get("ML_RUNTIME_EDITOR", ""), os.environ.get("ML_RUNTIME_EDITION", "")
    return max(fits, key=lambda one: (one.editor == editor, one.edition == edition, one.full_version))


def _run(*argv: str, **environ: str) -> None:
    """Run a program, showing what it prints.

    Raises:
        RayllmError: it failed; with its last lines.
    """
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        argv,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as done:
        for line in done.stdout or ():
            last.append(line)
            show(Path(argv[0]).name, line.rstrip())
    if done.returncode:
        raise RayllmError(f"{' '.join(argv)} failed with status {done.returncode}", cause="".join(last).strip() or None)
