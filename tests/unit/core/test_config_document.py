"""Reading YAML: what is refused, where, and in which words."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rayllm.config.building import read_document
from rayllm.config.problems import ConfigErrors
from rayllm.errors import InputError


def refusal(content: bytes | str) -> str:
    """The error for a file of this content, without the closing line."""
    path = Path("f")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigErrors) as caught:
        read_document(path, {})
    assert caught.value.exit_code == 2
    lines = str(caught.value).splitlines()
    assert lines.pop() == "  more   rayllm explain config"
    assert lines.pop() == "1 problem, nothing was changed."
    return "\n".join(lines)


REFUSED: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "f:1:1  the file is empty\n       → rayllm init -f f --force writes an example"),
    "comments alone": ("# soon\n", "f:1:1  the file is empty\n       → rayllm init -f f --force writes an example"),
    "list": ("- a\n", "f:1:1  expected keys and values, like `name: demo`"),
    "text": ("\n  hello\n", "f:2:3  expected keys and values, like `name: demo`"),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        "f:3:1  a second document (after `---`); each deployment has its own file",
    ),
    "tab": ("a:\n\tb: 1\n", "f:2:1  a tab; YAML indents with spaces"),
    "tab before a value": ("a:\tb\n", "f:1:3  a tab; YAML indents with spaces"),
    "open quote": ('a: 1\nb: "x\nc: 1\n', "f:2:4  a quoted text that begins here does not end"),
    "open single quote": ("b: 'x\nc: 1\n", "f:1:4  a quoted text that begins here does not end"),
    "path of Windows": (
        'a: "C:\\Users\\me"\n',
        "f:1:9  a backslash in double quotes that begins no special character: write a Windows path in single quotes",
    ),
    "colon in a text": (
        "a: b: c\n",
        "f:1:5  a second `: ` (put such a text in quotes), a line indented too far, or one above without its `:`",
    ),
    "garbage behind": ("a: 1\ngarbage\n", "f:2:1  a key and a value expected, like `name: demo`"),
    "garbage on the line": (
        "a: {b: 1} x\n",
        "f:1:11  the indentation fits no line above, or something follows a value that is complete",
    ),
    "crooked": (
        "a:\n    b: 1\n  c: 2\n",
        "f:3:3  the indentation fits no line above, or something follows a value that is complete",
    ),
    "at sign": ("a: @b\n", "f:1:4  a text that begins with '@' needs quotes"),
    "anchor twice": ("a: &x 1\nb: &x 2\n", "f:2:4  the anchor 'x' is there twice"),
    "open bracket": (
        "a: [1, 2\nb: 1\n",
        "f:2:2  not valid YAML: expected ',' or ']', but got ':' (while parsing a flow sequence, line 1)",
    ),
    "unknown anchor": ("a: *b\n", "f:1:4  there is no anchor 'b' above"),
    "Latin-1": (b"a: 1\nb: caf\xe9\n", "f:2:7  not UTF-8: the byte 0xe9; save the file as UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "f:1:1  the file is UTF-16; save it as UTF-8"),
    "UTF-16 without a mark": (
        "a: 1\n".encode("utf-16-le"),
        "f:1:1  the file is UTF-16, UTF-32 or no text at all; save it as UTF-8",
    ),
    "UTF-32": ("a: 1\n".encode("utf-32"), "f:1:1  the file is UTF-32; save it as UTF-8"),
    "control character": ("a: 1\nb: x\x00y\n", "f:2:5  a control character: U+0000"),
    "over 256 KiB": ("# " + "x" * (1 << 18), "f  larger than 256 KiB: this is no deployment's file"),
    "10 MB": ("- x\n" * 2_500_000, "f  larger than 256 KiB: this is no deployment's file"),
    "nested": ("a: " + "[" * 5000, "f  nested too deeply"),
    "nested less": ("a: " + "[" * 70 + "]" * 70, "f:1:68  nested more than 64 levels deep"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_yaml_mapping_is_refused_at_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """One clear line, with the line and the column."""
    monkeypatch.chdir(tmp_path)
    content, expected = REFUSED[case]
    assert refusal(content) == expected


def test_a_missing_file_names_the_way_to_one(tmp_path: Path) -> None:
    """`rayllm init` is the next step, for the file that was asked for: another may be there already."""
    with pytest.raises(InputError) as caught:
        read_document(tmp_path / "my file", {})
    assert caught.value.message == f"there is no file {tmp_path / 'my file'}"
    assert caught.value.cure == f"rayllm init -f '{tmp_path}/my file' writes one; -f FILE names another"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    """The system's own words are the cause."""
    with pytest.raises(InputError) as caught:
        read_document(tmp_path, {})
    assert (caught.value.message, caught.value.cause) == (f"{tmp_path} can't be read", "Is a directory")


def test_what_has_no_end_is_refused_at_once(tmp_path: Path) -> None:
    """A device, and a pipe that nobody writes to, which an ordinary open would wait for."""
    with pytest.raises(ConfigErrors, match="/dev/zero  larger than 256 KiB"):
        read_document(Path("/dev/zero"), {})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigErrors, match="pipe:1:1  the file is empty"):
        read_document(tmp_path / "pipe", {})


def test_a_pipe_is_read_to_its_end() -> None:
    """`-f <(envsubst < template)`: also where more is in it than a pipe holds."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(b"#\n" * 50_000 + b"a: 1\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert read_document(Path(f"/dev/fd/{reading}"), {}).data == {"a": 1}
    writer.join()
    os.close(reading)


def test_a_file_that_the_system_refuses(tmp_path: Path) -> None:
    """In the system's own words."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError) as caught:
        read_document(loop, {})
    assert str(caught.value) == f"{loop} can't be read\n  cause  Too many levels of symbolic links"


def noted(path: Path, content: str) -> list[tuple[int, int, str, str]]:
    """What can be read around: line, column, name, message."""
    path.write_text(content)
    return [(p.line, p.column, p.name, p.message) for p in sorted(read_document(path, {}).problems)]


NOTED = {
    "duplicate key": ("a:\n  b: 1\n  b: 2\n", (3, 3, "a.b", "written twice; the first is on line 2")),
    "key that is a list": ("? [a]\n: 1\n", (1, 3, "", "a key must be text")),
    "tag of Python": (
        "a: !!python/object/apply:os.system [true]\n",
        (1, 4, "a", "the tag !!python/object/apply:os.system is not known"),
    ),
    "own tag": ("a: !mine x\n", (1, 4, "a", "the tag !mine is not known")),
    "anchor in itself": ("a: &a\n  - *a\n", (1, 4, "a[0]", "an anchor that holds itself")),
    "merge of a text": ("a:\n  <<: x\n", (2, 7, "a", "`<<` takes another mapping, or a list of them")),
    "merge of itself": ("a: &a\n  <<: *a\n", (1, 4, "a", "`<<` takes another mapping, or a list of them")),
    "not a number": ("a: .nan\n", (1, 4, "a", ".nan is not a number that can be used here")),
    "long number": ("a: " + "9" * 5000, (1, 4, "a", "9" * 60 + " is not a number that can be used here")),
    "bad int": ("a: !!int x\n", (1, 4, "a", "x is not a number that can be used here")),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_can_be_read_around_is_noted(tmp_path: Path, case: str) -> None:
    """The rest of the file is checked all the same."""
    content, expected = NOTED[case]
    assert noted(tmp_path / "f", content) == [expected]


def test_keys_are_text_and_values_are_yaml(tmp_path: Path) -> None:
    """A model may be called `1.5`, `7` or `on`; a date stays as it was written."""
    path = tmp_path / "f"
    path.write_text("1.5: 1.5\n7: 7\non: on\n~: ~\n2026-01-02: 2026-01-02\nx: '7'\n", encoding="utf-8-sig")
    data = read_document(path, {}).data
    assert data == {"1.5": 1.5, "7": 7, "on": True, "~": None, "2026-01-02": "2026-01-02", "x": "7"}


def test_anchors_and_merges(tmp_path: Path) -> None:
    """A mapping's own keys win over the merged ones, earlier bases over later ones."""
    path = tmp_path / "f"
    path.write_text("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\nw: *x\n")
    document = read_document(path, {})
    assert document.data["z"] == {"a": 3, "b": 1, "c": 2}
    assert document.data["w"] == {"a": 1, "b": 1}
    assert document.problems == []
    assert document.place(("z", "a")) == (5, 6)
    assert document.place(("z", "c"), key=True) == (2, 14)


def test_a_bomb_of_anchors_is_refused(tmp_path: Path) -> None:
    """Ten lines that stand for ten thousand million values."""
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    path = tmp_path / "f"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigErrors, match="the file has more than 100000 values, anchors written out"):
        read_document(path, {})


def test_variables_take_the_place_of_their_references(tmp_path: Path) -> None:
    """In text values at any depth, several in one; never in keys, and the result is always text."""
    path = tmp_path / "f"
    path.write_text('a: ["${env:A}/${env:B}", 1]\n${env:A}: $HOME\nempty: ${env:C}\n')
    document = read_document(path, {"A": "1", "B": "${env:A}", "C": ""})
    assert document.data == {"a": ["1/${env:A}", 1], "${env:A}": "$HOME", "empty": ""}
    assert document.raw == {("a", 0): "${env:A}/${env:B}", ("empty",): "${env:C}"}


def test_variables_that_are_not_there(tmp_path: Path) -> None:
    """Each is a problem at its place."""
    assert noted(tmp_path / "f", 'a: "${env:A}${env:B}"\nb: ${env:}\n') == [
        (1, 4, "a", "the environment variable A is not set"),
        (1, 4, "a", "the environment variable B is not set"),
        (2, 4, "b", "`${env:}` names no variable; it is written `${env:NAME}`"),
    ]


def test_the_place_of_what_is_missing_is_what_should_hold_it(tmp_path: Path) -> None:
    """The nearest key above it, or the file's start."""
    path = tmp_path / "f"
    path.write_text("\na:\n  b: {}\n")
    document = read_document(path, {})
    assert document.place(("a", "b", "c", "d")) == (3, 3)
    assert document.place(("x",)) == (2, 1)
