"""A cluster's applications in a stand-in workspace, without an operator: files and applications are made by hand."""

from __future__ import annotations

import functools
import io
import json
import shutil
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.cai import Cai
from tests.conftest import until

import rayllm
import rayllm_backend_cai
from rayllm_backend_cai import shared
from rayllm_backend_cai.api.records import Application, NewApplication
from rayllm_backend_cai.applications import head_application, worker_application
from rayllm_backend_cai.shared import Group, HeadRecord, NodeRecord, Shape, Wanted

CODE, SERVING = "c0de", "5e41"
BOOTSTRAP = Path(rayllm_backend_cai.__file__).with_name("bootstrap")


def plant(folder: Path, python: str = sys.executable) -> None:
    """Lay onto a project's disk what the operator and the environment's job would: the script, code, a Python."""
    home = folder / shared.HOME
    (home / "code").mkdir(parents=True, exist_ok=True)
    shutil.copy(BOOTSTRAP / "run.py", folder / shared.run_script(CODE))
    (home / "code" / f"{CODE}.zip").write_bytes(code())
    plant_python(home / "serving" / SERVING, f'exec "{python}" "$@"')


@functools.cache
def code() -> bytes:
    """All of core and of this backend."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for package in (rayllm, rayllm_backend_cai):
            root = Path(str(package.__file__)).parent
            for path in root.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    packed.write(path, path.relative_to(root.parent))
    return content.getvalue()


def plant_python(environment: Path, script: str) -> None:
    """An environment whose Python is a shell script."""
    program = environment / "bin/python"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (environment / shared.READY).write_text("{}")


def argv_of(process: psutil.Process) -> list[str]:
    """A process's command line; empty if it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@dataclass
class Nodes:
    """One cluster of applications."""

    cai: Cai
    wanted: Wanted
    made: dict[str, Application] = field(default_factory=dict)

    @classmethod
    def plan(cls, cai: Cai, name: str, workers: int, **shape: Any) -> Nodes:
        """A cluster of a head and workers of one group, `w`, of this shape; its files are there, nothing runs."""
        told: dict[str, Any] = {"cpus": 1, "memory": 4, "runtime": cai.fake.image}
        wanted = Wanted(
            name=name,
            subdomain=name,
            code=CODE,
            serving=SERVING,
            head=Shape(**told),
            groups={"w": Group(**told, **shape, min=workers, max=workers)},
        )
        nodes = cls(cai, wanted)
        plant(cai.fake.folder(cai.project))
        wanted.write(nodes.folder / "wanted.json")
        return nodes

    @property
    def folder(self) -> Path:
        """The cluster's, on the project's disk."""
        return self.cai.fake.folder(self.cai.project) / shared.cluster_folder(self.wanted.name)

    @property
    def head(self) -> str:
        """Name of the head's application."""
        return shared.head_name(self.wanted.name)

    def worker(self, number: int) -> str:
        """Name of a worker's application."""
        return shared.worker_name(self.wanted.name, "w", number)

    def start(self, *names: str) -> None:
        """Make applications; those that are there are started again."""
        for name in names:
            if name in self.made:
                self.cai.client.applications.restart(self.cai.project, self.made[name].id)
            else:
                group, number = ("w", int(name.rpartition("-")[2])) if name != self.head else ("", 0)
                new = worker_application(self.wanted, group, number) if group else self._head_application()
                self.made[name] = self.cai.client.applications.create(self.cai.project, new)

    def _head_application(self) -> NewApplication:
        """A head that is given no key: it keeps no workers, the test does."""
        new = head_application(self.wanted)
        return new.model_copy(update={"environment": {**new.environment, "CDSW_APIV2_KEY": ""}})

    def stop(self, name: str) -> None:
        """Stop an application, and wait until nothing of it runs."""
        self.cai.client.applications.stop(self.cai.project, self.made[name].id)
        self.cai.wait(self.made[name], "stopped")

    def record(self, name: str) -> NodeRecord | None:
        """What a node says of itself."""
        return NodeRecord.read(self.folder / "nodes" / f"{name}.json")

    def at(self) -> HeadRecord | None:
        """Where the head is."""
        return HeadRecord.read(self.folder / "head.json")

    def is_ready(self, *names: str) -> bool:
        """Whether these nodes' newest pods say that they are in the cluster."""
        return all(
            (told := self.record(name)) and told.state == "ready" and told.engine == self.cai.fake.pod(name).engine
            for name in names
        )

    def await_ready(self, *names: str, seconds: float = 120) -> None:
        """Wait until they say so; what they printed is in the failure."""
        try:
            until(f"{', '.join(names)} are ready", lambda: self.is_ready(*names), seconds)
        except AssertionError as late:
            said = "\n".join(f"--- {name} {self.record(name)}\n{self.cai.fake.log(name)[-4000:]}" for name in names)
            raise AssertionError(f"{late}\n{said}") from None

    def dump(self) -> str:
        """All records, for a person."""
        return json.dumps({name: str(self.record(name)) for name in self.made}, indent=1)
