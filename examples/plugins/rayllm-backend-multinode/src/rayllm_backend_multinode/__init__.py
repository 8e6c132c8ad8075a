"""A Ray cluster of several nodes on this machine, to try placement with: the backend `multinode` for RayLLM.

What runs is read from the machine itself: every process of a node works in the node's folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

from pydantic import Field

from rayllm import Backend, Cluster, ClusterBackend, ClusterError, ClusterSpec, Options, Progress, hookimpl


class MultinodeOptions(Options):
    """What a person may write under `cluster.options:`."""

    workers: int = Field(default=1, ge=0, le=8)
    """Nodes beside the head."""
    cpus: int = Field(default=2, ge=1)
    """CPU cores that each node says it has, whatever the machine has. `rayllm down` comes before a change of them."""


class Multinode(ClusterBackend):
    """Node 0 is the head."""

    def __init__(self, options: MultinodeOptions) -> None:
        self.options = options

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Start the nodes that don't run, and end those that are too many."""
        with alone() as lock:
            for name, value in spec.secrets.items():
                write(home() / "secrets" / name, value)
            if created := not raylets(spec.name, 0):
                clear(place(spec.name))  # what a dead head or a killed command left
                port = 20000 + 4 * (os.getpid() % 3000)  # it is taken? rayllm up again
                write(place(spec.name) / "record", json.dumps([secrets.token_hex(32), port, self.options.cpus]))
            elif json.loads((place(spec.name) / "record").read_text())[2:] != [self.options.cpus]:
                raise ClusterError("its nodes run with other cpus", cure="rayllm down, then rayllm up")
            for surplus in place(spec.name).glob(f"[{1 + self.options.workers}-9]"):
                clear(surplus)
            for number in [number for number in range(1 + self.options.workers) if not raylets(spec.name, number)]:
                progress("cluster", f"starting node {number}")
                start(spec.name, number, self.options.cpus, lock)
        progress("cluster", "ready", done=True)
        return replace(describe(spec.name), created=created)

    def find(self, name: str) -> Cluster | None:
        """The cluster, if there is one."""
        return describe(name) if (place(name) / "record").exists() else None

    def destroy(self, name: str, progress: Progress) -> None:
        """End its processes and remove its files."""
        with alone():
            clear(place(name))
        progress("cluster", "gone", done=True)


def describe(name: str) -> Cluster:
    """The cluster as the machine has it. A head's main process is the last that starts: with it Ray answers."""
    token, port, *_ = json.loads((place(name) / "record").read_text())
    url, log = f"http://127.0.0.1:{port + 1}", f"{place(name)}/0.log"
    made = Cluster(name=name, dashboard_url=url, gateway_url="", token=token, serve_port=port + 3)
    return made if raylets(name, 0) else replace(made, state="failed", reason=f"its head ended, see {log}; rayllm up")


def home() -> Path:
    """RayLLM's folder on this machine, which all nodes share."""
    return Path(os.environ.get("RAYLLM_HOME") or "~/.rayllm").expanduser().absolute()


def place(name: str) -> Path:
    """The cluster's folder: a short path, since those of Ray's sockets are, and nobody else's."""
    digest = hashlib.sha256(f"{home()}/{name}".encode()).hexdigest()[:12]
    folder = Path("/tmp") / f"rayllm-{name[:12]}-{digest}"  # noqa: S108  its owner is looked at
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise ClusterError(f"{folder} is somebody else's", cure="remove it, or give the deployment another name")
    return folder


def alone() -> TextIOWrapper:
    """The lock of one command at a time. A program that inherits it holds it on when this command is killed."""
    home().mkdir(parents=True, exist_ok=True)
    lock = (home() / "multinode.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def write(path: Path, text: str) -> None:
    """Write a file for this user alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}")
    draft.touch(0o600)
    draft.write_text(text)
    draft.replace(path)


def processes(folder: Path, words: str = "") -> Iterator[int]:
    """Those that work in a folder, with these words in their command lines."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if (process / "cwd").readlink().is_relative_to(folder) and words in (process / "cmdline").read_text():
                yield int(process.name)


def raylets(name: str, number: int) -> list[int]:
    """The main process of a node: none, or one."""
    return list(processes(place(name) / str(number), "raylet/raylet"))


def clear(folder: Path) -> None:
    """Kill until nothing is left, since what is killed may just have started something; then remove the files."""
    while found := list(processes(folder)):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def start(name: str, number: int, cpus: int, lock: TextIOWrapper) -> None:
    """Start a node, with a folder and an address of its own; it stays when this command ends."""
    folder, log = place(name) / str(number), place(name) / f"{number}.log"
    folder.mkdir(exist_ok=True)
    token, port, *_ = json.loads((place(name) / "record").read_text())
    head = ["--head", f"--port={port}", f"--dashboard-port={port + 1}", f"--ray-client-server-port={port + 2}"]
    argv = ["sh", "-c", 'exec "$@" > "$0" 2>&1 < /dev/null', str(log), sys.executable, "-m", "ray.scripts.scripts"]
    argv += ["start", *([f"--address=127.0.0.2:{port}"] if number else [*head, "--include-dashboard=true"])]
    argv += [f"--node-ip-address=127.0.0.{number + 2}", f"--temp-dir={folder}", f"--num-cpus={cpus}", "--num-gpus=0"]
    argv += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]  # 0: any that is free
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY")}
    env |= {"RAYLLM_HOME": str(home()), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    if subprocess.call(argv, env=env, cwd=folder, start_new_session=True, pass_fds=[lock.fileno()]):
        raise ClusterError(f"node {number} did not start", cause=log.read_text()[-400:], cure=f"see {log}; rayllm up")


@hookimpl
def rayllm_backends() -> Iterator[Backend[MultinodeOptions]]:
    """Offer `multinode`."""
    able, what = {"create", "this-machine"}, "a Ray cluster of several nodes on this machine"
    yield Backend(name="multinode", summary=what, options=MultinodeOptions, open=Multinode, capabilities=able)
