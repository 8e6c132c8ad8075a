"""From `version:` in a file to what is installed."""

from __future__ import annotations

import pytest
from tests.unit.core.conftest import Checker

from rayllm import Environment
from rayllm.config import ConfigErrors
from rayllm.versions import at_version, is_pinned, pinned_version, specifier_of

LOCK = Environment(
    ["other==3", "tiny-engine==1.2.0", "torch==2"],
    provides="tiny-engine>=1.2,<1.3",
    locked=True,
    imports=("tiny_engine",),
    files={"stand_in.py": ""},
    beside=("reader>=1",),
    without=("cuda-things",),
)


@pytest.mark.parametrize(
    ("version", "specifier"),
    [
        ("1", "==1.*"),
        ("0.32", "==0.32.*"),
        ("0.32.0", "==0.32.0"),
        ("0.5.2.post1", "==0.5.2.post1"),
        ("1rc1", "==1rc1"),
    ],
)
def test_what_a_version_means(version: str, specifier: str) -> None:
    """Few numbers mean all versions that begin so; a whole one means itself."""
    assert str(specifier_of(version)) == specifier


@pytest.mark.parametrize("version", ["", "newest", ">=1", "1.*", "1 ; rm"])
def test_what_is_no_version(version: str) -> None:
    """Nothing else reaches the resolver."""
    with pytest.raises(ValueError, match=r"is not a version like 0\.32"):
        specifier_of(version)


@pytest.mark.parametrize("version", ["1", "1.2", "1.2.0"])
def test_the_pinned_version_is_what_the_lock_says(version: str) -> None:
    """The same packages, so the same environment; a Python of the node must have just this version."""
    found = at_version(LOCK, version)
    assert (found.requires, found.locked) == (LOCK.requires, True)
    assert found.provides == f"tiny-engine{specifier_of(version)}"
    assert is_pinned(LOCK, version)


def test_another_version_is_resolved() -> None:
    """The engine's own package and what belongs beside it; the plugin's stand-ins stay."""
    found = at_version(LOCK, "1.1")
    assert found.requires == ("tiny-engine==1.1.*", "reader>=1")
    assert (found.locked, found.needed) == (False, "tiny-engine==1.1.*")
    assert (found.files, found.imports, found.without) == (LOCK.files, LOCK.imports, LOCK.without)
    assert not is_pinned(LOCK, "1.1")


def test_without_a_lock_the_rest_stays() -> None:
    """With the extras that the plugin asks for; an environment that pins nothing is made for no version alone."""
    found = at_version(Environment(["tiny[serving]==5", "more>=2"]), "4")
    assert found.requires == ("tiny[serving]==4.*", "more>=2")
    assert pinned_version(Environment(["tiny>=5"])) is None
    assert is_pinned(Environment(["tiny>=5"]), None)
    assert not is_pinned(Environment(["tiny>=5"]), "5")


FILE = "name: d\nmodels:\n  m: {{engine: {}, source: /m, version: {}}}\n"


@pytest.mark.parametrize(
    ("engine", "version", "words"),
    [
        ("vllm", "newest", "'newest' is not a version like 0.32 or 0.32.0"),
        ("sglang", "'1.0'", "nothing is installed for this engine, so it has no versions"),
        ("sglang", "0.32", "text expected, found 0.32"),
    ],
)
def test_a_wrong_version_is_refused(check: Checker, engine: str, version: str, words: str) -> None:
    """With its place, before anything starts."""
    with pytest.raises(ConfigErrors) as caught:
        check.right(FILE.format(engine, version))
    (problem,) = caught.value.problems
    assert (problem.name, words in problem.message) == ("models.m.version", True), problem
