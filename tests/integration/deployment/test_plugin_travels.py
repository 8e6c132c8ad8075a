"""A third party's plugin, installed for the command line alone: its code travels, its version is told, and it lasts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Rayllm, until
from tests.distributions import Site
from tests.integration.deployment.conftest import QUICK, Deployment
from tests.integration.deployment.test_deaths import kill_and_see_another

from rayllm import ClusterSpec
from rayllm.cluster.serve_api import ServeApi
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm_backend_local import backend
from rayllm_backend_local.options import LocalOptions

NAME = "rayllm-engine-parrot"
CODE: dict[str, str | bytes] = {
    "rayllm_engine_parrot/__init__.py": """
from dataclasses import replace
from rayllm import hookimpl
from rayllm.testing import fake_engine
from rayllm_engine_parrot.words import SUMMARY

@hookimpl
def rayllm_engines():
    for engine in fake_engine.rayllm_engines():
        yield replace(engine, name="parrot", summary=SUMMARY)
""",
    "rayllm_engine_parrot/words.py": "from pathlib import Path\nSUMMARY = Path(__file__).with_name('a').read_text()",
    "rayllm_engine_parrot/a": "a third party's",
}
EXPIRY_S = 3
"""After which Ray deletes a package that nobody holds, in place of ten minutes."""
CANARY = "canary.zip"
SET_EXPIRY = f"""
environ = s.ray_command.environ
name = "RAY_RUNTIME_ENV_TEMPORARY_REFERENCE_EXPIRATION_S"
s.ray_command.environ = lambda *about: environ(*about) | {{name: "{EXPIRY_S}"}}
"""


def install(folder: Path, *requires: str, version: str) -> None:
    """Install the plugin, in place of another version."""
    for info in folder.glob("*.dist-info"):
        for file in info.iterdir():
            file.unlink()
        info.rmdir()
    path = list(sys.path)
    Site(folder, folder).install(
        "wheel", NAME, CODE, "engine-parrot = rayllm_engine_parrot", requires=requires, version=version
    )
    sys.path[:] = path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the plugin is installed: on the path of the command line, and not on that of the nodes."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, version="0.1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        yield folder


@pytest.fixture(scope="module")
def deployment(site: Path, rayllm: Rayllm) -> Deployment:  # in this order: the last `down` needs the plugin
    """A model that runs and one at zero, on a local cluster whose Ray soon forgets what nobody holds."""
    made = Deployment(rayllm)
    asleep = {"min": 0, "max": 1}
    made.models = {"one": {**QUICK, "engine": "parrot"}, "zero": {**QUICK, "engine": "parrot", "replicas": asleep}}
    spec = ClusterSpec(name="it", gateway_host="127.0.0.1", gateway_port=made.port)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYLLM_HOME", str(rayllm.home))
        # The nodes get none of the person's own settings of Ray, so it is slipped in where they are started.
        patch.setattr(backend, "_SUPERVISE", backend._SUPERVISE.replace("s.main()", f"exec({SET_EXPIRY!r}); s.main()"))
        local = backend.LocalBackend(LocalOptions(cpus=4))
        cluster = local.ensure(spec, lambda *_, **__: None)
    content = io.BytesIO()
    zipfile.ZipFile(content, "w").close()
    with ServeApi.of(cluster) as api:
        api.put_package(CANARY, content.getvalue())
        assert api.has_package(CANARY)  # to ask is to hold it, until the expiry
    made.up()
    return made


def test_it_serves_where_it_is_not_installed(deployment: Deployment) -> None:
    """With its data file; the file says what runs, and `status` whose code it is."""
    there = [sys.executable, "-c", "import rayllm_engine_parrot"]
    assert subprocess.run(there, env=clean_environ(), capture_output=True, check=False).returncode == 1
    assert deployment.answer("one").startswith("fake one pid")
    assert "No changes" in deployment.rayllm("plan")
    assert deployment.rayllm.json("status")["models"]["one"]["versions"][NAME] == "0.1.0"
    assert f"{NAME} 0.1.0" in deployment.rayllm("status")


def test_what_no_node_has_is_refused(deployment: Deployment, site: Path) -> None:
    """By each command that would send it, and nothing changes."""
    engine = deployment.engine_pid("one")
    install(site, "httpx", version="0.1.0")
    for command in (["plan"], ["up", "--yes"], ["render"]):
        said = deployment.rayllm(*command, status=1)
        assert f"{NAME} 0.1.0 can't be sent to the nodes: it requires httpx" in said
        assert "Traceback" not in said
    install(site, version="0.1.0")
    assert "No changes" in deployment.rayllm("plan")
    assert deployment.engine_pid("one") == engine


def test_another_version_is_told(deployment: Deployment, site: Path) -> None:
    """`plan` names both and what it means; `up` makes it so, and is asked for no more."""
    install(site, version="0.2.0")
    said = deployment.rayllm("plan")
    assert f"code: the cluster runs {NAME} 0.1.0, this machine has 0.2.0" in said
    assert "~ one          restarts its replica\n" in said
    assert "= gateway" in said
    deployment.up()
    assert "No changes" in deployment.rayllm("plan")
    assert deployment.rayllm.json("status")["models"]["one"]["versions"][NAME] == "0.2.0"
    install(site, version="0.1.0")
    assert f"the cluster runs {NAME} 0.2.0, this machine has the older 0.1.0" in deployment.rayllm("plan")
    install(site, version="0.2.0")


def test_a_model_at_zero_keeps_its_code(deployment: Deployment) -> None:
    """Longer than Ray keeps what nobody holds, and over the death of the head with all that its node had unpacked."""
    begun = time.monotonic()
    until("Ray forgets", lambda: time.monotonic() > begun + 2 * EXPIRY_S, 3 * EXPIRY_S)  # to ask would be to hold
    local = backend.LocalBackend(LocalOptions(cpus=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYLLM_HOME", str(deployment.rayllm.home))
        cluster = local.find("it")
    assert cluster
    with ServeApi.of(cluster) as api:
        assert not api.has_package(CANARY)
    assert deployment.rayllm.json("status")["models"]["zero"]["running"] == 0
    kill_and_see_another(deployment, "gcs_server")
    deployment.wait_for("one", 120)
    assert deployment.wait_for("zero", 60).startswith("fake zero pid")
    deployment.wait_until_ready()
    assert "No changes" in deployment.rayllm("plan")
