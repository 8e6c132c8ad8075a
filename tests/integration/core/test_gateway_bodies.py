"""Which model a body names, for every body: real HAProxy, held to `json.loads`."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.core.bodies import CHAT, MIB, NAMES, Served, padded

from rayllm.serving.haproxy.limits import BODY_IN_PLACE

BODIES = 6000


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its duplicate keys."""


@pytest.fixture
def served(gateway: Any) -> Iterator[Served]:
    """The gateway of this page."""
    made = Served(gateway)
    yield made
    for engine in made.engines.values():
        engine.close()


class Writer:
    """Random JSON, written in as many ways as there are."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  no secret

    def body(self) -> bytes:
        """A request, most of them good ones."""
        chance = self.random.random
        fields = [(self.key(), self.value(3)) for _ in range(self.random.randrange(5))]
        if chance() < 0.95:
            fields.append(("model", self.name()))
        if chance() < 0.08:
            fields.append(("model", self.name()))
        self.random.shuffle(fields)
        whole = self.space() + self.fields(fields) + self.space()
        if chance() < 0.03:
            whole = self.random.choice(["[" + whole + "]", "", "null", '"model"', "7", whole + whole])
        return whole.encode("utf-8", "surrogatepass")

    def name(self) -> object:
        """What stands for the model."""
        if self.random.random() < 0.08:
            return self.random.choice([None, 7, True, {"model": "a"}, ["a"], "", 1.5, float("nan")])
        return self.random.choice(
            ["a", "b", "a", "b", "meta/x", "ü", "😀 x", 'a"b', "a\\", "a\nb", "a}", '","model":"b']
        )

    def key(self) -> str:
        """Any but the model's."""
        return self.random.choice(
            ["messages", "Model", "mode", "model ", "", 'mo"del', "\\", "😀", "prompt", "stream", "}{"]
        )

    def value(self, depth: int) -> object:
        """Anything; nested objects like to have a `model`."""
        kind = self.random.randrange(8 if depth else 5)
        if kind == 7:
            return Pairs((self.random.choice(["model", "role", "x"]), self.value(depth - 1)) for _ in range(kind % 4))
        if kind >= 5:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        texts = ['"', "\\", '\\"', '{"model": "b"}', "]", "[{", "text " * 5, "\\\\\\", "\u2028é", "/"]
        return self.random.choice([self.random.choice(texts), 1e300, -17, None, True, False, float("inf"), 0.25])

    def space(self) -> str:
        """Between two tokens."""
        return self.random.choice(["", "", "", " ", "\n\t ", "\r\n"])

    def fields(self, fields: list[tuple[str, object]]) -> str:
        """Written."""
        written = [f"{self.space()}{self.text(key)}{self.space()}:{self.write(value)}" for key, value in fields]
        return "{" + ",".join(written) + self.space() + "}"

    def write(self, value: object) -> str:
        """Written, with space around it."""
        if isinstance(value, str):
            text = self.text(value)
        elif isinstance(value, Pairs):
            text = self.fields(value)
        elif isinstance(value, dict):
            text = self.fields(list(value.items()))
        elif isinstance(value, list):
            text = "[" + ",".join(map(self.write, value)) + "]"
        else:
            text = json.dumps(value)
        return self.space() + text + self.space()

    def text(self, text: str) -> str:
        """A string, its characters escaped or not."""
        often = self.random.choice([0, 0, 0.1, 1])
        return '"' + "".join(self._char(char, escape=self.random.random() < often) for char in text) + '"'

    def _char(self, char: str, *, escape: bool) -> str:
        if char == "/" and escape:
            return "\\/"
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        units = char.encode("utf-16-be")
        hexed = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
        return self.random.choice([hexed, hexed.upper().replace("U", "u")]) if escape else plain

    def broken(self) -> bytes:
        """One that somebody cut or scratched."""
        whole = bytearray(self.body() or b"{}")
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(whole))
            change: Callable[[], object] = self.random.choice(
                [
                    lambda at=at: whole.__delitem__(slice(at, None if at else 1)),
                    lambda at=at: whole.__setitem__(at, self.random.randrange(256)),
                    lambda at=at: whole.insert(at, self.random.choice(b'"\\{}[],:\0')),
                    lambda at=at: whole.__delitem__(at),
                ]
            )
            change()
            if not whole:
                break
        return bytes(whole)


def meant(body: bytes) -> str | None:
    """The model that `json.loads` finds, None for one that has to be refused; ValueError for what is no JSON."""
    found = json.loads(body, object_pairs_hook=Pairs)
    models = [value for key, value in found if key == "model"] if isinstance(found, Pairs) else []
    if len(models) != 1 or not isinstance(models[0], str) or not models[0]:
        return None
    return models[0]


def check(served: Served, body: bytes) -> str:
    """Ask, and hold the answer to `json.loads`; returns what happened."""
    status, answer = served.ask(body)
    if status == 200:
        assert answer["sha256"] == hashlib.sha256(body).hexdigest(), body
    try:
        name = meant(body)
    except ValueError:
        assert status in {200, 400, 404}, body
        return "broken"
    if name is None:
        assert (status, answer["error"]["code"]) == (400, "model_unreadable"), body
        return "refused"
    if name in NAMES:
        assert (status, answer["by"]) == (200, name), body
        return "routed"
    assert status == 404, body
    shown = "".join(char for char in name if ord(char) < 1 << 16)  # HAProxy writes no others into JSON
    assert answer["error"]["message"].startswith(f'there is no model "{shown}"'), body
    return "unknown"


def test_every_body_is_routed_as_json_loads_reads_it(served: Served) -> None:
    """Key order, nested and duplicate keys, escapes, surrogates, unicode, white space; unchanged at the engine."""
    writer = Writer(5)
    seen = [check(served, writer.body()) for _ in range(BODIES)]
    assert {what: seen.count(what) > BODIES / 50 for what in ("routed", "unknown", "refused")} == {
        "routed": True,
        "unknown": True,
        "refused": True,
    }


def test_broken_bodies_are_refused_or_passed_on_whole(served: Served) -> None:
    """What the scanner does not notice is for the engine to refuse; what is still valid goes where it should."""
    writer = Writer(6)
    seen = [check(served, writer.broken()) for _ in range(BODIES // 2)]
    assert seen.count("broken") > BODIES / 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"no JSON", "not valid JSON"),
        (b'{"model": "a"', "not valid JSON"),
        (b'{"model": "a"} x', "not valid JSON"),
        (b"[]", "not valid JSON"),
        ('{"model": "a"}'.encode("utf-16"), "not valid JSON"),
        (b"{}", '"model" is missing'),
        (b'{"messages": [{"model": "a"}]}', '"model" is missing'),
        (b'{"model": ""}', '"model" is empty'),
        (b'{"model": null}', "has to be a string"),
        (b'{"model": 7}', "has to be a string"),
        (b'{"model": "a", "model": "b"}', "twice"),
        (b'{"model": "a", "mod\\u0065l": "a"}', "twice"),
        (b'{"model": "a\\u0000b"}', "can't be the name"),
        (b'{"model": "\\ud800"}', "can't be the name"),
        (b'{"model": "a\nb"}', "can't be the name"),
        (b'{"model": "' + b"x" * 9000 + b'"}', "can't be the name"),
    ],
)
def test_a_body_without_a_model_is_refused(served: Served, body: bytes, says: str) -> None:
    """400 that tells what is wrong, from both ways that a body can go."""
    for whole in (body, body and body + b" " * (BODY_IN_PLACE + 1)):
        status, answer = served.ask(whole)
        error = answer["error"]
        assert (status, error["code"], error["param"]) == (400, "model_unreadable", "model")
        assert says in error["message"]


def test_a_mark_of_utf8_is_no_mistake(served: Served) -> None:
    """As for `json.loads`."""
    assert served.ask(b'\xef\xbb\xbf {"model": "a"}')[0] == 200


def test_an_alias_becomes_the_engines_own_name(served: Served) -> None:
    """In the body, wherever it stands there, and nothing else of it changes."""
    where = random.Random(7)  # noqa: S311  no secret
    sizes = [*range(60, 80), BODY_IN_PLACE, *(where.randrange(100, 3 * BODY_IN_PLACE) for _ in range(60)), 5 * MIB]
    for size in sizes:
        at = where.choice([None, None if size < 200 else where.randrange(60, size - 20)])
        body = padded(size, "other", at)
        status, answer = served.ask(body, chunked=where.choice([0, 0, 1000, 70_000]))
        assert (status, answer["by"]) == (200, "b"), size
        assert served.engines["b"].body == body.replace(b'"other"', b'"b"'), size


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("null", '{"include_usage":true}'),
        ("{ }", '{"include_usage":true }'),
        ("{" + " " * 2 * BODY_IN_PLACE + "}", '{"include_usage":true' + " " * 2 * BODY_IN_PLACE + "}"),
        ('{"include_usage": 0.' + "0" * 2 * BODY_IN_PLACE + "}", None),
        ("7", '{"include_usage":true}'),
        ('{"include_usage": false}', '{"include_usage": true}'),
        ('{"include_usage": null }', '{"include_usage": true }'),
        (
            '{"include_usage": "off", "continuous_usage_stats": true}',
            '{"include_usage": true, "continuous_usage_stats": true}',
        ),
        ('{"x": {"include_usage": true}}', '{"include_usage":true,"x": {"include_usage": true}}'),
        ('{"include_usage": true, "include\\u005fusage": 0}', '{"include_usage": true, "include\\u005fusage": true}'),
        ('{"include_usage": false, "include_usage": true}', None),
        ('{"x": "}", "include_usage": 1}', None),
    ],
)
@pytest.mark.parametrize("size", [0, 3 * BODY_IN_PLACE])
@pytest.mark.parametrize("name_first", [False, True])
def test_a_stream_that_asks_for_no_usage_is_asked(
    served: Served, options: str, wanted: str | None, size: int, name_first: bool
) -> None:
    """A client that doesn't want to see its tokens has used them all the same; the rest of its options stays."""

    def body(name: str, options: str) -> str:
        fields = [f'"stream_options": {options}', f'"messages": "{"x" * size}"', f'"model": "{name}"']
        return '{"stream": true, ' + ", ".join(fields[::-1] if name_first else fields) + "}"

    for chunks in (0, 1000):
        assert served.ask(body("other", options).encode(), path=CHAT, chunked=chunks)[0] == 200
        assert served.engines["b"].body.decode() == body("b", wanted or options)


@pytest.mark.parametrize("size", [0, 3 * BODY_IN_PLACE])
def test_a_stream_is_asked_for_its_usage(served: Served, size: int) -> None:
    """Where its client said nothing of it, next to another name: two changes of one body."""
    body = {"stream": True, "messages": [{"role": "user", "content": "x" * size}], "model": "other"}
    assert served.ask(json.dumps(body).encode(), path=CHAT)[0] == 200
    wanted = {"stream_options": {"include_usage": True}, **body, "model": "b"}
    assert json.loads(served.engines["b"].body) == wanted


FILE = b"\x00\r\n--x\r\n\r\n" * 10


def form(*parts: tuple[str, bytes], boundary: bytes = b"x7") -> bytes:
    """A multipart body of these content-dispositions and contents."""
    pieces = [
        b"--" + boundary + b"\r\nContent-Disposition: form-data; " + about.encode() + b"\r\n\r\n" + content + b"\r\n"
        for about, content in parts
    ]
    return b"".join(pieces) + b"--" + boundary + b"--\r\n"


SOUND = ('name="file"; filename="a; name=model.wav"\r\nContent-Type: audio/wav', FILE)


@pytest.mark.parametrize("size", [0, 2 * BODY_IN_PLACE])
@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x7", 'Multipart/Form-Data; charset=utf-8; boundary="x7"']
)
def test_a_form_names_its_model(served: Served, kind: str, size: int) -> None:
    """In a field before the file or behind it, its name quoted or not; an alias is replaced there, too."""
    sound = (SOUND[0], FILE + b"\0" * size)
    for parts in (
        [('name="model"', b"b"), sound],
        [sound, ("name=model", b"b")],
        [sound, ('NAME="model"\r\nContent-Type: text/plain', b"b"), ("name=x", b"")],
    ):
        status, answer = served.ask(form(*parts), kind)
        assert (status, answer["by"], answer["size"]) == (200, "b", len(form(*parts)))
    assert served.ask(form(('name="model"', b"other"), sound), kind)[1]["by"] == "b"
    assert served.engines["b"].body == form(('name="model"', b"b"), sound)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (form(SOUND), '"model" is missing'),
        (form(("name=model", b"")), '"model" is empty'),
        (form(("name=model", b"a"), ("name=model", b"b")), "twice"),
        (form(("name=model; filename=x", b"a")), "has to be a string"),
        (form(("name=x; name=model", b"a")), "can't be read"),
        (form(("name=model", b"a"), boundary=b"y8"), "can't be read"),
        (form(("name=model", b"a"))[:-6], "can't be read"),
        (b'{"model": "a"}', "can't be read"),
        (b"", "can't be read"),
    ],
)
def test_a_form_without_a_model_is_refused(served: Served, body: bytes, says: str) -> None:
    """400 that tells what is wrong."""
    status, answer = served.ask(body, "multipart/form-data; boundary=x7")
    assert (status, answer["error"]["code"]) == (400, "model_unreadable")
    assert says in answer["error"]["message"]


@pytest.mark.parametrize("size", [0, 2 * BODY_IN_PLACE])
def test_a_compressed_body_is_refused(served: Served, size: int) -> None:
    """415, since nothing can be read in it."""
    body = gzip.compress(b'{"model": "a"}') + b"x" * size
    status, answer = served.ask(body, content_encoding="gzip")
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
