"""Where packages come from, by the file: what uv and pip are told, and what may stand there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.core.conftest import Checker

from rayllm.config import ConfigErrors
from rayllm.machine.downloading import CPU_TORCH, pip_command
from rayllm.serving.prepare.pip_settings import OFFLINE, UvSettings
from rayllm.serving.prepare.uv_errors import cure_for
from rayllm.serving.prepare.wheelhouse import settings

FILE = "name: d\nmodels:\n  m: {{engine: vllm, source: /m}}\npackages: {}\n"


def test_both_tools_are_told_the_same(tmp_path: Path) -> None:
    """The file's folders first, then those of the node's own settings; offline, no index."""
    nothing = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": "", "PIP_FIND_LINKS": "/own /more"}
    told = settings({"find_links": ["/wheels", "/own"], "offline": True}, nothing)
    assert told == {
        "UV_FIND_LINKS": "/wheels,/own,/more",
        "PIP_FIND_LINKS": "/wheels /own /more",
        OFFLINE: "1",
        "UV_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
    }
    assert settings({"find_links": ["/w"], "offline": False}, {"UV_FIND_LINKS": "/a,/b"})["UV_FIND_LINKS"] == "/w,/a,/b"
    assert settings({"find_links": [], "offline": False}, nothing) == {}


def test_offline_holds_beside_uvs_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would else keep its indexes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv/uv.toml").write_text("")
    assert UvSettings.of_this_machine().flags == ()
    monkeypatch.setenv(OFFLINE, "1")
    assert UvSettings.of_this_machine().flags == ("--no-index",)


def test_what_fills_a_wheelhouse(tmp_path: Path) -> None:
    """Exactly; PyTorch's own index only where no other has the CPU build."""
    words = ["/p/bin/python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path)]
    requirements = ["-r", "/r.txt"]
    assert pip_command("/p/bin/python", Path("/r.txt"), tmp_path, cpu_torch=False) == [*words, *requirements]
    index = ["--extra-index-url", CPU_TORCH]
    assert pip_command("/p/bin/python", Path("/r.txt"), tmp_path, cpu_torch=True) == [*words, *index, *requirements]


def test_what_a_folder_lacks_has_a_cure(tmp_path: Path) -> None:
    """Uv's words without an index."""
    said = "Because tiny-part was not found in the provided package locations and tiny-engine==1.0 depends on it"
    assert "fill one with `rayllm env download" in cure_for(said, tmp_path)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("{find_links: [wheels]}", 'a whole path on the nodes or an address expected, found text "wheels"'),
        ("{find_links: ['https://a/b'], offline: true}", "a folder on the nodes expected, because of offline: true"),
        ("{find_links: ['https://${env:TOKEN}@a/b']}", "${env:TOKEN}"),
    ],
)
def test_what_may_not_stand_there(check: Checker, block: str, problem: str) -> None:
    """A relative path is another folder on every node, a page can't be asked offline, a password is open to all."""
    with pytest.raises(ConfigErrors) as caught:
        check.right(FILE.format(block), {"TOKEN": "hidden"})
    assert [problem in one.message for one in caught.value.problems] == [True]
    assert "hidden" not in str(caught.value)


def test_what_may_stand_there(check: Checker) -> None:
    """Folders and addresses."""
    found = check.right(FILE.format("{find_links: [/wheels, 'https://a/b']}")).config.packages
    assert found
    assert (found.find_links, found.offline) == (["/wheels", "https://a/b"], False)
