"""Model sources that break one rule of the kit each: the rule, and what makes the difference from a good one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.unit.core.testing.kit_runs import NEEDS

GOOD = """
import fcntl, os, shutil, time
from rayllm import InputError, ModelSource, hookimpl

SUMMARY = "made up for a test"

def check(uri):
    name = uri.partition(":")[2]
    return None if name.isascii() and name.isidentifier() else "write a name behind the colon"

def write(file, report):
    with open(file, "wb") as out:
        for number in range(5):
            out.write(bytes([number]) * 1000)
            out.flush()
            report(f"{number} of 5")
            time.sleep(0.02)

def place(uri, cache):
    name = uri.partition(":")[2]
    if name != "there":
        raise InputError(f"there is no {name}", cure="name another one")
    return cache / "made-up" / name

def fetch(uri, cache, report):
    final = place(uri, cache)
    if final.is_dir():
        return final
    draft = final.with_name(f".{final.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    write(draft / "model.safetensors", report)
    try:
        draft.rename(final)
    except OSError:  # another process was first
        shutil.rmtree(draft)
    return final

good = fetch
"""
HOOK = """
@hookimpl
def rayllm_model_sources():
    yield ModelSource(scheme={name!r}, summary=SUMMARY, check=check, fetch=fetch)
"""
IN_PLACE = """
def fetch(uri, cache, report):
    final = place(uri, cache)
    final.parent.mkdir(parents=True, exist_ok=True)
    with open(final.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            final.mkdir()
            write(final / "model.safetensors", report)
    return final
"""
ONE_DRAFT = """
def fetch(uri, cache, report):
    final = place(uri, cache)
    if not final.is_dir():
        draft = final.with_name(".draft")
        draft.mkdir(parents=True, exist_ok=True)
        write(draft / "model.safetensors", report)
        draft.rename(final)
    return final
"""
ANOTHER_PATH = """
def fetch(uri, cache, report):
    final = place(uri, cache)
    if not final.is_dir():
        return good(uri, cache, report)
    link = final.with_name("link")
    if not link.exists():
        link.symlink_to(final)
    return link
"""
TELLS_A_TOKEN = """
def fetch(uri, cache, report):
    try:
        return good(uri, cache, report)
    except InputError as error:
        raise InputError(error.message, cause=os.environ.get("MADE_UP_TOKEN"), cure=error.cure)
"""
WRAPPED = """
def fetch(uri, cache, report):
    {before}
    try:
        found = good(uri, cache, report)
    except InputError as error:
        {refused}
    return {found}
"""


def wrapped(before: str = "pass", refused: str = "raise", found: str = "found") -> str:
    """The good fetch with something else around it."""
    return WRAPPED.format(before=before, refused=refused, found=found)


class Bad(NamedTuple):
    """One source, and the rule that it breaks."""

    rule: str
    code: str = ""
    """Follows the good source's."""
    said: str = ""
    """Part of the failure."""
    of_class: Mapping[str, Any] = MappingProxyType({})
    """What its author tells the kit."""
    may: str = ""
    """A rule that it breaks, too, if the machine is slow."""
    needs: str = NEEDS
    """What its distribution requires."""


BADS = [
    Bad("test_it_is_found_by_its_entry_point", "raise OSError('no libmissing')", "OSError: no libmissing"),
    Bad("test_its_import_is_light", "import heavy_as_lead", "its import brings heavy_as_lead"),
    Bad("test_it_names_a_range_of_core", "", "only names rayllm-core<1", needs="rayllm-core<1"),
    Bad("test_its_import_prints_nothing", "print('hello')", "it prints 'hello'"),
    Bad("test_its_summary_is_one_line", "SUMMARY = 'one\\ntwo'", "its summary is 'one\\ntwo'"),
    Bad("test_good_uris_are_right", "def check(uri):\n    return 'no'", "returns 'no'"),
    Bad(
        "test_bad_uris_are_refused_in_words",
        "old = check\ndef check(uri):\n    return old(uri) and ''",
        "returns ''",
    ),
    Bad(
        "test_its_check_takes_any_text",
        "old = check\ndef check(uri):\n    assert len(uri) < 1000, 'too long'\n    return old(uri)",
        "check raises AssertionError: too long",
    ),
    Bad(
        "test_its_check_is_pure",
        "old = check\ndef check(uri):\n    return open('/etc/hostname').close() or old(uri)",
        "check reads /etc/hostname",
    ),
    Bad(
        "test_its_check_is_pure",
        "old = check\ndef check(uri):\n    return old(uri) and f'not at {time.time()}'",
        "one URI gives 'not at",
    ),
    Bad("test_it_fetches_models", wrapped(found="found / 'model.safetensors'"), "model.safetensors"),
    Bad("test_it_fetches_models", wrapped(found="str(found)"), "fetch('bad-11:there') returns '/"),
    Bad("test_fetching_again_gives_the_same", ANOTHER_PATH, "/link, the first", may="test_several_may_fetch_at_once"),
    Bad("test_a_killed_fetch_goes_on", IN_PLACE, "the next fetch gives"),
    Bad("test_several_may_fetch_at_once", ONE_DRAFT, "one of 4 at once gets"),
    Bad(
        "test_what_is_missing_is_told", wrapped(refused="raise KeyError(error.message)"), "KeyError: 'there is no gone'"
    ),
    Bad("test_what_is_missing_is_told", wrapped(refused="raise InputError(error.message)"), "'cure': None"),
    Bad(
        "test_its_secrets_are_never_told",
        TELLS_A_TOKEN,
        "a secret stands in text",
        {"secrets": ["MADE_UP_TOKEN"]},
    ),
    Bad(
        "test_it_writes_in_its_cache_alone",
        wrapped(before="open(__file__ + '.notes', 'a').close()"),
        "fetch writes /",
    ),
]
