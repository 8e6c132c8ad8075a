"""A model from an object store, through the command line: its keys are the file's, each node loads it once."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from tests.conftest import Rayllm, command_of, marked, until
from tests.integration.core.s3_store import KEY, SECRET, S3Store
from tests.integration.deployment.conftest import QUICK, Deployment

WEIGHTS = random.Random(1).randbytes(14_000_000)  # noqa: S311 - no secret
HALF = 8 << 20


@pytest.fixture(scope="module")
def store() -> Iterator[S3Store]:
    """A store that asks for keys, with one model; whoever starts Ray here has none."""
    with S3Store() as made, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        made.faults.private = True
        files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}
        made.put({f"team/llama/{name}": content for name, content in files.items()})
        yield made


@pytest.fixture(scope="module")
def deployment(store: S3Store, rayllm: Rayllm) -> Deployment:
    """A file that names the store's model, its keys and its address; nothing is up."""
    made = Deployment(rayllm)
    made.models = {"llama": {**QUICK, "source": "s3://models/team/llama"}}
    given = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": store.url}
    for name, value in given.items():
        file = rayllm.folder / name
        file.touch(0o600)
        file.write_text(value)
        made.secrets[name] = {"file": name}
    made.write()
    return made


def shown(rayllm: Rayllm) -> str:
    """What `status` prints, however it ends."""
    return rayllm.start("status").communicate(timeout=60)[0]


def test_it_is_loaded_shown_and_served(deployment: Deployment, store: S3Store) -> None:
    """`up` tells how far it is; the keys stand in no log, no argument list and no config of Serve."""
    store.faults.gate, store.faults.gate_at = threading.Event(), HALF
    process = deployment.rayllm.start("up", "--yes")
    until("half is there", lambda: "llama: weights · 8 of 14 MB" in shown(deployment.rayllm), 120)
    lines = [command_of(pid) for pid in marked(deployment.rayllm.home)]
    assert any("stores.script" in line for line in lines)
    store.faults.gate.set()
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert re.search(r"llama +weights", said[1])
    assert deployment.answer("llama")
    assert (deployment.rayllm.home / "secrets/AWS_SECRET_ACCESS_KEY").read_text() == SECRET

    (token,) = deployment.rayllm.home.rglob("token")
    url = deployment.rayllm.json("status")["dashboard_url"] + "/api/serve/applications/"
    config = httpx.get(url, headers={"Authorization": f"Bearer {token.read_text()}"}, trust_env=False).text
    assert "s3://models/team/llama" in config
    told = [*said, *lines, config, *(deployment.rayllm(*words) for words in (["status"], ["logs", "llama"]))]
    told += [path.read_text(errors="replace") for path in deployment.logs()]
    assert not [word for word in (KEY, SECRET) if word in "".join(told)]


def test_another_replica_of_the_node_loads_nothing(deployment: Deployment, store: S3Store) -> None:
    """It only asks whether the model is still the same."""
    loaded, asked = store.ranges(), len(store.requests)
    assert loaded.count(HALF) == 1
    deployment.rayllm("scale", "llama", "2")
    replicas = deployment.rayllm.json("status")["models"]["llama"]["replicas"]
    assert [replica["phase"] for replica in replicas] == ["ready", "ready"]
    assert len(store.requests) > asked
    assert store.ranges() == loaded
