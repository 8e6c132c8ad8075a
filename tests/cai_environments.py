"""A project whose nodes get small environments, quickly, from a folder of wheels: no package index is asked."""

from __future__ import annotations

import functools
import io
import json
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cai import Cai
from tests.conftest import until
from tests.wheels import wheel

from rayllm.backends import Preparation
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.bootstrap.code import NodeCode, node_code
from rayllm_backend_cai.bootstrap.requirements import Serving
from rayllm_backend_cai.environment_job import ensure_environment, job_name
from rayllm_backend_cai.shared import Shape, Wanted

CLUSTER = "demo"
JOB = job_name(CLUSTER)
PYTHON = ".".join(platform.python_version_tuple()[:2])
RUN = """
import os, subprocess, sys
home = os.path.join(os.environ["HOME"], ".rayllm")
build = os.path.join(home, "code", os.environ["RAYLLM_CAI_CODE"], "rayllm_backend_cai", "bootstrap", "build.py")
sys.exit(subprocess.run([sys.executable, "-S", build]).returncode)
"""
"""What runs the job's program: with a Python that has the standard library alone."""
SLOW = b"""
import pathlib, time
home = pathlib.Path.home()
(home / "importing").touch()
while not (home / "gate").exists():
    time.sleep(0.02)
"""
"""A module that takes its time to import."""
ON_NODE = """
import json, os, sys
told = json.loads(sys.argv[1])
assert told["weights"] is False and told["elsewhere"] is True
print("printed by an engine")
for model in told["models"]:
    say = lambda **facts: print(json.dumps({"model": model["model"], "step": "environment", **facts}), flush=True)
    say(detail="building " + os.environ["RAYLLM_HOME"])
    if model["engine"] == "broken":
        say(error={"message": "no such engine", "cause": "its plugin", "cure": "install it", "topic": "plugin"})
    elif model["engine"] == "crashes":
        sys.exit("out of luck")
    else:
        say(done="tiny-cuda-1", version="1", free="3 GB")
"""
"""What stands for the preparation that RayLLM itself does, in the code of the models."""


code_of_nodes = functools.cache(node_code)
"""Packed once: it is the same for all tests."""


@dataclass
class Nodes:
    """The project's disk as an operator has laid it out, and what the operator asks for."""

    cai: Cai
    wheels: Path
    code: NodeCode = field(default_factory=code_of_nodes)
    told: list[tuple[str, str]] = field(default_factory=list)
    """What a person was shown."""
    ended: list[str] = field(default_factory=list)
    """Steps whose end they were shown."""

    def __post_init__(self) -> None:
        home = self.folder / ".rayllm"
        zipfile.ZipFile(io.BytesIO(self.code.content)).extractall(home / "code" / self.code.digest)
        (self.folder / shared.run_script(self.code.digest)).write_text(RUN)
        settings = self.folder / ".config" / "pip" / "pip.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"[global]\nno-index = true\nfind-links = {self.wheels}\n")
        wheel(self.wheels, "tiny_thing", "1.0", {"tiny_thing.py": b"import rayllm.errors"})
        wheel(self.wheels, "tiny_slow", "1.0", {"tiny_slow.py": SLOW})

    @property
    def folder(self) -> Path:
        """The project's disk."""
        return self.cai.fake.folder(self.cai.project)

    @property
    def logged(self) -> str:
        """The run's log on the disk."""
        return (self.folder / shared.cluster_folder(CLUSTER) / "logs" / "environment.log").read_text()

    @property
    def record(self) -> dict[str, Any]:
        """What the run says of itself."""
        found: dict[str, Any] = json.loads(
            (self.folder / shared.cluster_folder(CLUSTER) / "environment.json").read_text()
        )
        return found

    def wanted(self, serving: Serving) -> Wanted:
        """A cluster with this environment."""
        head = Shape(cpus=1, memory=2, runtime=self.cai.fake.image)
        return Wanted(name=CLUSTER, subdomain=CLUSTER, code=self.code.digest, serving=serving.digest, head=head)

    def ensure(
        self,
        serving: Serving,
        preparation: Preparation | None = None,
        client: CaiClient | None = None,
        enough: str = "",
    ) -> list[tuple[str, str]]:
        """Have it made; what a person is shown meanwhile. At details with the word `enough` they press Ctrl-C."""
        told: list[tuple[str, str]] = []

        def progress(step: str, detail: str, *, done: bool = False) -> None:
            told.append((step, detail))
            self.told.append((step, detail))
            if done:
                self.ended.append(step)
            if enough and enough in detail:
                raise KeyboardInterrupt

        ensure_environment(
            client or self.cai.client,
            self.cai.project,
            self.wanted(serving),
            serving,
            preparation=preparation,
            progress=progress,
            poll_s=0.05,
        )
        return told

    def ready(self, serving: Serving) -> bool:
        """Whether it is finished."""
        return (self.folder / shared.SERVING / serving.digest / shared.READY).exists()

    def wait_for_the_import(self) -> None:
        """Until the slow module is being imported, and the record says so."""
        until("the slow import begins", (self.folder / "importing").exists, 30)
        until("it is told", lambda: self.record["detail"].startswith("checking"), 10)

    def open_the_gate(self) -> None:
        """Let it go on."""
        (self.folder / "gate").touch()


def serving(*requirements: str, imports: Sequence[str] = ("tiny_thing", "rayllm.errors")) -> Serving:
    """An environment with these, on the tests' own Python."""
    return Serving(python=PYTHON, requirements=requirements or ("tiny-thing==1.0",), imports=tuple(imports))


SLOWLY = serving("tiny-slow", imports=("tiny_slow",))


def preparation(**engines: str) -> Preparation:
    """Models by name, with the engine of each."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("rayllm/serving/prepare/on_node.py", ON_NODE)
    models = [{"model": name, "engine": engine, "gpus": 1, "options": {}} for name, engine in engines.items()]
    return Preparation(models=models, code=content.getvalue(), digest="f00d")
