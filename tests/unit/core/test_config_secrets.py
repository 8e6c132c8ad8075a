"""The block `secrets:`: values are read where the file says, and never told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.core.conftest import Checker

from rayllm.serving.secrets import secret

REST = "name: demo\nmodels: {m: {engine: vllm, source: file:/m}}\n"
VALUE = "hf_very_secret"


def test_values_are_read(check: Checker) -> None:
    """From the environment, and from a file beside this one; without white space around them."""
    file = Path("token")
    file.touch(0o600)
    file.write_text(f"{VALUE}\n")
    checked = check.right(f"{REST}secrets: {{A: {{env: TOKEN}}, B: {{file: token}}}}", {"TOKEN": " in-env "})
    assert checked.secrets == {"A": "in-env", "B": VALUE}
    assert VALUE not in repr(checked)
    assert "in-env" not in repr(checked)
    assert check.right(REST).secrets == {}


@pytest.mark.parametrize(
    ("block", "mistake"),
    [
        ("{A: {env: UNSET}}", "f:3:20  secrets.A.env: the environment variable UNSET is not set"),
        ("{A: {env: EMPTY}}", "f:3:20  secrets.A.env: the environment variable EMPTY is empty"),
        ("{A: {file: none}}", "f:3:21  secrets.A.file: there is no file none"),
        ("{A: {file: open}}", "f:3:21  secrets.A.file: open can be read by others (mode 0644)"),
        ("{A: {file: empty}}", "f:3:21  secrets.A.file: empty is empty"),
        ("{A: {file: bytes}}", "f:3:21  secrets.A.file: bytes is no text"),
        ("{A: {file: long}}", "f:3:21  secrets.A.file: long is no secret: it has more than 64 KiB"),
        ("{A: {file: folder}}", "f:3:21  secrets.A.file: folder can't be read: Is a directory"),
        ("{A: {}}", "f:3:14  secrets.A: either `env: NAME` or `file: PATH` expected"),
        ("{A: {env: TOKEN, file: x}}", "f:3:14  secrets.A: either `env: NAME` or `file: PATH` expected"),
        ("{A: hf_very_secret}", "f:3:14  secrets.A: a mapping expected"),
        ("{A: {vault: x}}", "f:3:15  secrets.A.vault: no such key   known: env, file"),
        (
            "{a-b: {env: TOKEN}}",
            'f:3:11  secrets.a-b: "a-b" is not a name: letters, digits and `_`, and no digit first, expected',
        ),
    ],
)
def test_mistakes(check: Checker, block: str, mistake: str) -> None:
    """Each at its place, without the value."""
    for name, content, mode in [
        ("open", VALUE.encode(), 0o644),
        ("empty", b"\n", 0o600),
        ("bytes", b"\xff\xfe", 0o600),
        ("long", b"x" * 65_537, 0o600),
    ]:
        Path(name).write_bytes(content)
        Path(name).chmod(mode)
    Path("folder").mkdir(0o700)
    lines = check.mistakes(f"{REST}secrets: {block}", {"TOKEN": VALUE, "EMPTY": ""})
    assert lines[0].startswith(mistake)
    assert VALUE not in "\n".join(lines[1:])


def test_a_secret_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file under RAYLLM_HOME, or nothing: no variable stands in for it."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", VALUE)
    assert secret("HF_TOKEN") is None
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/HF_TOKEN").write_text(f"{VALUE}\n")
    assert secret("HF_TOKEN") == VALUE
