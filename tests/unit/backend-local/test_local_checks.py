"""What `rayllm doctor` asks before a local cluster is started."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

import rayllm_backend_local
from rayllm_backend_local import checks
from rayllm_backend_local.options import LocalOptions


def test_a_machine_that_will_do() -> None:
    """This one has Ray beside RayLLM; the backend offers the check."""
    (backend,) = rayllm_backend_local.rayllm_backends()
    assert backend.check
    ray, *_ = backend.check(LocalOptions())
    assert (ray.name, ray.state, ray.detail) == ("ray", "ok", f"Ray {version('ray')}, with HAProxy")


def test_a_ray_that_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the command that installs the right one."""

    def missing(_: str) -> str:
        raise PackageNotFoundError

    for found, words in ((missing, "not installed"), (lambda _: "2.9.0", "Ray 2.9.0 is installed")):
        monkeypatch.setattr(checks, "version", found)
        ray, *_ = checks.checks(LocalOptions())
        assert (ray.state, words in ray.detail) == ("fail", True)
        assert 'pip install "rayllm-core[serve]"' in ray.cure


def test_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores and shared memory, as warnings: Ray itself takes what it is told."""
    monkeypatch.setattr(checks, "OBJECT_STORE", 1 << 60)
    found = {check.name: check.state for check in checks.checks(LocalOptions(cpus=100_000))}
    assert (found["cores"], found["shared memory"]) == ("warn", "warn")
