"""The conformance kit for model sources: what a source's plugin has to keep, as tests that it inherits."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, ClassVar

import pytest

from rayllm.sources import ModelSource
from rayllm.testing.outside.look import look
from rayllm.testing.plugin_rules import PluginRules
from rayllm.testing.source_kit.trials import SECRET

_TEXTS = ("", ":", "\0", "\n", "{}%s", "a" * 10_000, "\N{PILE OF POO}", "../../..", "//", "?#@[")
"""What may follow the scheme."""


@cache
def seen(name: str, point: str, uris: tuple[str, ...], *, elsewhere: bool) -> dict[str, Any]:
    """The plugin from outside, once for each source."""
    request = {"name": name, "point": point, "uris": uris}
    told, printed = look("rayllm.testing.source_kit.probe", request, elsewhere=elsewhere)
    return {**told, "printed": printed}


@cache
def tried(name: str, request: str) -> dict[str, Any]:
    """Its fetches, once for each source."""
    with tempfile.TemporaryDirectory(prefix="rayllm-conformance-") as folder, tempfile.TemporaryDirectory() as rest:
        wanted = {**json.loads(request), "name": name, "folder": folder}
        told, printed = look("rayllm.testing.source_kit.trials", wanted, TMPDIR=rest)
    return told or {"broken": printed}


class SourceConformance(PluginRules):
    """Every rule for model sources.

    A plugin's whole test file:

        from rayllm.testing import SourceConformance

        class TestX(SourceConformance):
            scheme = "x"
            good = ["x:a-model"]
            bad = ["x:no name"]
            missing = ["x:nobody-has-this"]

    Where something has to serve them, override the fixture `serving`.
    """

    scheme: ClassVar[str]
    """Its plugin is found as installed, by its entry point."""
    good: ClassVar[Sequence[str]]
    """URIs of models that are there; the first is fetched many times, so it should be small."""
    bad: ClassVar[Sequence[str]]
    """URIs that are malformed."""
    missing: ClassVar[Sequence[str]]
    """URIs that are well formed, of what is not there."""
    secrets: ClassVar[Sequence[str]] = ()
    """Names of the secrets that it uses: environment variables, or files of `$RAYLLM_HOME/secrets`."""
    _kind = "source"

    @pytest.fixture
    def serving(self) -> Iterator[None] | None:
        """What has to be there while models are fetched: override it to start a server, or to set variables."""
        return None

    def _name(self) -> str:
        return self.scheme

    def _found(self) -> ModelSource:
        found: ModelSource = self._offered()
        return found

    def _seen(self, *, elsewhere: bool = False) -> dict[str, Any]:
        info = self._info()
        uris = (*self.good, *self.bad, *self.missing)
        return seen(self.scheme, info.name if info else "", uris, elsewhere=elsewhere)

    def _tried(self) -> dict[str, Any]:
        """What came of the fetches."""
        self._found()
        info = self._info()
        wanted = {"good": self.good, "missing": self.missing, "secrets": self.secrets}
        told = tried(self.scheme, json.dumps({**wanted, "point": info.name if info else ""}))
        if broken := told.get("broken"):
            self._broken(f"its fetches end the process: {broken[-500:]}", "see what it prints")
        return told

    def _reference(self) -> dict[str, Any]:
        """The undisturbed fetch; where it fails, the rule about that says so."""
        plain: dict[str, Any] = self._tried()["good"][self.good[0]]
        if "content" not in plain or not plain["content"]:
            pytest.skip("it does not fetch its first good URI, which is another rule's failure")
        return plain

    def test_good_uris_are_right(self) -> None:
        """What can be fetched is not refused, nor is what may be there on another day."""
        for uri in (*self.good, *self.missing):
            if wrong := self._found().check(uri):
                self._broken(f"check({uri!r}) returns {wrong!r}", "return None for a URI that is well formed")

    def test_bad_uris_are_refused_in_words(self) -> None:
        """With what to write instead; nothing behind the scheme is a model nowhere."""
        for uri in (*self.bad, f"{self.scheme}:"):
            told = self._found().check(uri)
            if not isinstance(told, str) or not told.strip():
                self._broken(f"check({uri!r}) returns {told!r}", "say what is wrong with it")

    def test_its_check_takes_any_text(self) -> None:
        """A person wrote it."""
        for text in _TEXTS:
            try:
                told = self._found().check(f"{self.scheme}:{text}")
            # Whatever it raises is the failure.
            except Exception as error:  # noqa: BLE001
                self._broken(f"check raises {type(error).__name__}: {error} for {text[:40]!r}", "return what is wrong")
            if told is not None and not isinstance(told, str):
                self._broken(f"check returns {told!r} for {text[:40]!r}", "return a text, or None")

    def test_its_check_is_pure(self) -> None:
        """It runs on the operator's machine: the same text, the same answer; nothing is read, asked or written."""
        here, there = self._looked(), self._looked(elsewhere=True)
        if acts := here.get("acts"):
            self._broken(f"check {acts[0]}", "look at the text alone")
        said, other = here.get("said", []), there.get("said", [])
        for one, again in (*zip(said[::2], said[1::2], strict=False), *zip(said, other, strict=False)):
            if one != again:
                self._broken(
                    f"one URI gives {one!r} and {again!r}", "take nothing from time, chance or the environment"
                )

    @pytest.mark.usefixtures("serving")
    def test_it_fetches_models(self) -> None:
        """A folder with files, or a .gguf file, at an absolute path."""
        for uri, told in self._tried()["good"].items():
            if why := told.get("error") or told.get("refused", {}).get("message"):
                self._broken(f"fetch({uri!r}) fails: {why}", "fetch it; `serving` has to serve it")
            whole = told["form"] == "folder" or told["path"].lower().endswith(".gguf")
            if told["form"] == "nothing" or not told["files"] or not whole or not told["absolute"]:
                do = "return the absolute path of a folder with a model's files, or of a .gguf file"
                self._broken(f"fetch({uri!r}) returns {told['path']}", do)

    @pytest.mark.usefixtures("serving")
    def test_fetching_again_gives_the_same(self) -> None:
        """A replica that starts again, and every further one."""
        self._reference()
        first, second = self._tried()["again"]
        for part in ("path", "content"):
            if first.get(part) != second.get(part):
                seen = f"the second fetch gives {_shown(second)}, the first {_shown(first)}"
                self._broken(seen, "give what is there already, under the same path")

    @pytest.mark.usefixtures("serving")
    def test_a_killed_fetch_goes_on(self) -> None:
        """Whatever it was killed at, the next one ends with the whole model."""
        whole = self._reference()
        for told in self._tried()["killed"]:
            if told.get("content") != whole["content"]:
                seen = f"killed at step {told['at']} of {whole['steps']}, the next fetch gives {_shown(told)}"
                self._broken(f"{seen} instead of {whole['content']}", "write beside the final place, and rename")

    @pytest.mark.usefixtures("serving")
    def test_several_may_fetch_at_once(self) -> None:
        """Replicas start together: each gets the whole model, under one path."""
        whole = self._reference()
        told = self._tried()["together"]
        for one in told:
            if one.get("content") != whole["content"]:
                do = "hold a lock, or write under names of your own and rename"
                self._broken(f"one of {len(told)} at once gets {_shown(one)} instead of {whole['content']}", do)
        if len({one["path"] for one in told}) > 1:
            self._broken(f"several at once get {sorted({one['path'] for one in told})}", "agree on one place")

    @pytest.mark.usefixtures("serving")
    def test_what_is_missing_is_told(self) -> None:
        """As a RayllmError, with what to do."""
        for uri, told in self._tried()["missing"].items():
            refused = told.get("refused")
            if refused is None:
                seen = told.get("error") or f"no error, but {_shown(told)}"
                self._broken(f"fetch({uri!r}) gives {seen}", "raise rayllm.RayllmError with cause and cure")
            if not refused["message"].strip() or not refused["cure"]:
                self._broken(f"fetch({uri!r}) says {refused}", "say what is missing, and what to do")

    @pytest.mark.usefixtures("serving")
    def test_its_secrets_are_never_told(self) -> None:
        """Not in errors, nor in what it reports, nor in names of files."""
        if not self.secrets:
            pytest.skip("it uses no secrets")
        for told in self._tried()["secretive"]:
            for part in ("text", "refused", "reports", "path"):
                if SECRET in str(told.get(part)):
                    shown = str(told[part]).replace(SECRET, "THE-SECRET")[-200:]
                    self._broken(f"a secret stands in {part}: …{shown}", "leave it out of what is told")

    @pytest.mark.usefixtures("serving")
    def test_it_writes_in_its_cache_alone(self) -> None:
        """Below the folder that it is given: that is what a person moves to a larger disk."""
        if outside := self._reference()["outside"]:
            self._broken(f"fetch {outside[0]}", "write below `cache`, or with tempfile")


def _shown(told: dict[str, Any]) -> str:
    """What came of a fetch, in a few words."""
    refused = told.get("refused", {}).get("message")
    return str(refused or told.get("error") or f"{told.get('content')} at {told.get('path')}")
