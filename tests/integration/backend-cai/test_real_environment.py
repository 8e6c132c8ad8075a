"""The nodes' real environment, with Ray, from whatever index this machine has; built once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

from rayllm.backends import Preparation
from rayllm.cluster.bundle import build
from rayllm.serving.spec import ModelSpec
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, Call
from rayllm_backend_cai.bootstrap.code import node_code
from rayllm_backend_cai.bootstrap.requirements import serving_for
from rayllm_backend_cai.environment_job import ensure_environment, job_name
from rayllm_backend_cai.shared import Shape, Wanted
from rayllm_backend_cai.testing import FakeCai

RUN = (files("rayllm_backend_cai") / "bootstrap" / "run.py").read_bytes()
QUICK_S = 2.0
"""Seconds that the job's program takes where all is there: 0.1 s on a machine with nothing else to do."""
_PASSED = ("PIP_", "UV_", "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_CERT")
"""Of this machine's environment: how it finds packages."""


def test_nodes_get_ray_and_engines_theirs() -> None:
    """What is built runs Ray and RayLLM's own preparation; the second time costs one listing."""
    calls: list[Call] = []
    told: list[str] = []

    def progress(step: str, detail: str, *, done: bool = False) -> None:
        told.append(f"{step}: {detail}")

    with FakeCai() as fake, CaiClient(fake.workspace, on_call=calls.append) as client:
        # what was downloaded before is taken: by default the cache lies on the project's disk
        cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
        passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
        fake.settings.environment = {**passed, "PIP_USER": "1", "UV_CACHE_DIR": cache}
        project = fake.add_project("llm")
        home = fake.folder(project) / ".rayllm"
        code = node_code()
        client.files.upload(project, f"{shared.CODE}/{code.digest}.zip", code.content)
        client.files.upload(project, str(shared.run_script(code.digest)), RUN)
        serving = serving_for(".".join(platform.python_version_tuple()[:2]))
        wanted = Wanted(
            name="demo",
            subdomain="demo",
            code=code.digest,
            serving=serving.digest,
            head=Shape(cpus=1, memory=2, runtime=fake.image),
        )
        model = ModelSpec(deployment="demo", model="m", engine="fake", source="/m", gpus=1)
        bundle = build(["rayllm-engine-fake"])
        prepared = Preparation(models=[model.to_args()], code=bundle.content, digest=Path(bundle.name).stem)
        ensure_environment(client, project, wanted, serving, preparation=prepared, progress=progress)
        folder = fake.folder(project) / shared.SERVING / serving.digest
        ray = subprocess.run([folder / "bin" / "ray", "--version"], capture_output=True, text=True, check=True)
        assert ray.stdout.startswith("ray, version 2.60")
        assert any(line.startswith(f"environment m: {folder}/bin/python") for line in told)
        calls.clear()
        ensure_environment(client, project, wanted, serving, preparation=prepared, progress=progress)
        assert len(calls) == 1
        (job,) = client.jobs.named(project, job_name("demo"))
        program = home / "code" / code.digest / "rayllm_backend_cai/bootstrap/build.py"
        environ = {"HOME": str(fake.folder(project)), **job.environment}
        began = time.monotonic()
        again = subprocess.run(
            [sys.executable, "-S", str(program)], env=environ, capture_output=True, text=True, check=True
        )
        assert again.stdout == "everything is there\n"
        assert time.monotonic() - began < QUICK_S
