"""Sources in object stores as far as they need no store: the URI, the words of errors, the sums of a file."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest

from rayllm import InputError
from rayllm.serving.weights.script_parts import ChecksumError
from rayllm.serving.weights.script_run import FetchError
from rayllm.serving.weights.sources import AZ, GS, S3
from rayllm.serving.weights.stores.errors import explain
from rayllm.serving.weights.stores.source import asked_of, folder_of
from rayllm.serving.weights.stores.sums import Facts, compare
from rayllm.serving.weights.stores.uri import StoreUri, parse_store

URI = StoreUri("s3", "models", "team/llama", None)
CONTENT = b"0123456789" * 1000


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("s3://models/team/llama", URI),
        ("s3://models/team/llama/", URI),
        ("gs://models", StoreUri("gs", "models", "", None)),
        ("az://models/a b/M.GGUF", StoreUri("az", "models", "a b", "M.GGUF")),
        ("s3://models/m.gguf", StoreUri("s3", "models", "", "m.gguf")),
    ],
)
def test_a_uri(uri: str, named: StoreUri) -> None:
    """What it names; as text it is what a person would write."""
    assert {"s3": S3, "gs": GS, "az": AZ}[named.scheme].check(uri) is None
    assert parse_store(uri) == named
    assert str(named) == uri.rstrip("/")


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("s3:models/llama", "write s3://BUCKET/PATH"),
        ("s3://", "write s3://BUCKET/PATH"),
        ("s3://my models/llama", '"my models" is no name of a bucket'),
        ("az://-x/llama", '"-x" is no name of a container'),
        ("s3://models//llama", 'may not hold "//"'),
        ("s3://models/../llama", 'may not hold "//", "." or ".."'),
        ("s3://models/a\nb", "can't be printed"),
        ("s3://models/" + "m" * 1025, "at most 1024 bytes"),
        ("s3://models/llama/model.safetensors", "name its folder"),
    ],
)
def test_a_malformed_uri(uri: str, wrong: str) -> None:
    """Told offline, with the form that is right."""
    assert wrong in str(S3.check(uri))
    with pytest.raises(InputError):
        parse_store(uri)


def test_each_place_has_its_folder(tmp_path: Path) -> None:
    """However alike the readable part of its name is."""
    places = [
        StoreUri("s3", "models", "a/b", None),
        StoreUri("s3", "models", "a-b", None),
        StoreUri("gs", "a", "b", None),
    ]
    folders = {folder_of(place, tmp_path) for place in places}
    assert len(folders) == len(places)
    assert all(folder.parent.parent == tmp_path for folder in folders)


def test_credentials_are_given_whole() -> None:
    """A key of the file's never meets a token of the node's; an address alone takes nothing away."""
    assert asked_of(URI, {"AWS_ENDPOINT_URL": "http://minio"})["instead_of"] == ()
    replaced = asked_of(URI, {"AWS_ACCESS_KEY_ID": "AKIA"})["instead_of"]
    assert "AWS_SESSION_TOKEN" in replaced
    assert "AWS_ENDPOINT_URL" not in replaced


@pytest.mark.parametrize(
    ("kind", "missing", "message", "cure"),
    [
        ("tls", 0, "the certificate of https://store is not one", "AWS_CA_BUNDLE=/path/of/its.pem"),
        ("limit", 0, "is asked too much", "what came is kept"),
        ("server", 0, "has a fault of its own", "start again later"),
        ("server", 5_000_000, "broke off in the middle of s3://models/team/llama: 5.0 MB are missing", "goes on"),
        ("disk", 5_000_000, "the disk is full, with 5.0 MB of s3://models/team/llama still", "RAYLLM_HOME"),
        ("changed", 0, "was changed again and again", "a folder of its own"),
        ("account", 0, "in which storage account", "secrets: {AZURE_STORAGE_ACCOUNT_NAME: …}"),
        ("other", 0, "s3://models/team/llama can't be fetched", "its library's own"),
    ],
)
def test_rare_errors(kind: str, missing: int, message: str, cure: str) -> None:
    """Each has its own words, with the store's as the cause."""
    problem = FetchError({"kind": kind, "words": "said so", "endpoint": "https://store", "anonymous": False})
    problem.missing = missing
    error = explain(URI, problem)
    assert message in error.message
    assert error.cause == "said so"
    assert cure in str(error.cure)


def test_sums_of_a_file(tmp_path: Path) -> None:
    """Every one that the store gave has to agree; parts as S3 makes them, of any sizes."""
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    right = {"md5": md5, "crc32": f"{zlib.crc32(CONTENT):08x}"}
    assert compare(file, Facts("1", right), "file") == (hashlib.sha256(CONTENT).hexdigest(), ["crc32", "md5"])
    assert compare(file, Facts("1"), "file")[1] == []
    sizes = [3000, 6000, 1000]
    ends = [CONTENT[:3000], CONTENT[3000:9000], CONTENT[9000:]]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in ends)
    whole = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    assert compare(file, Facts("1", {}, (whole, sizes)), "file")[1] == ["md5 of its parts"]
    with pytest.raises(ChecksumError, match="the store says"):
        compare(file, Facts("1", {}, (whole, [5000, 5000])), "file")
    with pytest.raises(ChecksumError, match=f"file: md5 {md5}, the store says 00"):
        compare(file, Facts("1", {"md5": "00"}), "file")
