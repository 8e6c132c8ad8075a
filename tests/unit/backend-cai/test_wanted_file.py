"""What a cluster should be is never lost, wherever its writer is killed, and no writer takes another's change back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import pytest
from tests.cai import Cai
from tests.cai_workers import group, wanted

from rayllm import ClusterError
from rayllm_backend_cai.node.records import Watched
from rayllm_backend_cai.shared import Wanted, cluster_folder, wanted_files
from rayllm_backend_cai.steps.wanted_file import WantedFile

OLD, NEW, NEWER = (wanted(w=group(number)) for number in (1, 2, 3))


class KilledError(BaseException):
    """The operator is gone at this request."""


@pytest.fixture
def file(cai: Cai) -> WantedFile:
    """Nothing is written yet."""
    return WantedFile(cai.client, cai.project, "llm")


def disk(cai: Cai) -> Watched[Wanted]:
    """As a node reads it."""
    return Watched(Wanted, *wanted_files(cai.fake.folder(cai.project) / cluster_folder("llm")))


def kill_at(monkeypatch: pytest.MonkeyPatch, request: int) -> None:
    """No request from this one on."""
    send, asked = httpx.Client.send, 0

    def killed(self: httpx.Client, *told: Any, **more: Any) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked > request:
            raise KilledError
        return send(self, *told, **more)

    monkeypatch.setattr(httpx.Client, "send", killed)


@pytest.mark.parametrize("first", range(14))
def test_a_writer_that_is_killed(cai: Cai, file: WantedFile, first: int) -> None:
    """At any request, and the next one at some request, too: old or new is found by operators and by nodes."""
    for second in (1, 2, 6, 9):
        file.write(OLD, file.read())
        for request, told in ((first, NEW), (second, NEWER)):
            before = file.read()
            with pytest.MonkeyPatch.context() as patch:
                kill_at(patch, request)
                with suppress(KilledError):
                    file.write(told, before)
            assert file.read() in (before, told)
            assert disk(cai).look() == file.read()
        file.write(NEWER, file.read())
        assert file.read() == disk(cai).look() == NEWER


def test_the_first_of_all(cai: Cai, file: WantedFile) -> None:
    """Costs few requests; the same once more costs one, and writes nothing."""
    assert file.read() is None
    assert disk(cai).look() is None
    file.write(OLD, None)
    assert file.read() == OLD
    cai.calls.clear()
    file.write(OLD, None)
    assert [call.path.rpartition(":")[2] for call in cai.calls] == ["download"]


def test_what_was_cut_short(cai: Cai, file: WantedFile) -> None:
    """By a first writer is nothing; by a later one, the draft counts."""
    folder = cai.fake.folder(cai.project) / cluster_folder("llm")
    folder.mkdir(parents=True)
    whole, draft, _ = wanted_files(folder)
    whole.write_text("{half")
    assert file.read() is None
    NEW.write(draft)
    assert file.read() == disk(cai).look() == NEW
    file.write(NEWER, NEW)
    assert (Wanted.read(whole), draft.exists()) == (NEWER, False)


def test_somebody_else_was_quicker(file: WantedFile) -> None:
    """Their change stays, and the later one is told."""
    file.write(OLD, None)
    file.write(NEW, OLD)
    with pytest.raises(ClusterError, match="was changed by somebody else meanwhile") as refused:
        file.write(NEWER, OLD)
    assert refused.value.topic == "another-operator"
    assert refused.value.cure
    with pytest.raises(ClusterError, match="by somebody else"):
        file.require(OLD)
    file.require(NEW)
    assert file.read() == NEW
