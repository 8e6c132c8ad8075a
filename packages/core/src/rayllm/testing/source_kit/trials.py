"""Fetches of one source, each in a process of its own that is forked off a fresh Python."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rayllm.errors import RayllmError
from rayllm.sources import ModelSource
from rayllm.testing.outside.discovering import discovered
from rayllm.testing.source_kit.steps import Steps

KILLS = 5
"""Steps of a fetch at which it is killed, spread over all of them."""
TOGETHER = 4
"""Processes that fetch at once."""
SECRET = "canary-5f1c-never-to-be-shown"  # noqa: S105 - it opens nothing


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Try `{"name": …, "point": …, "good": […], "missing": […], "secrets": […], "folder": …}`."""
    _, plugins = discovered(request["point"])
    source = plugins.sources[request["name"]]
    trials = Trials(source, Path(request["folder"]))
    uri = request["good"][0]
    told: dict[str, Any] = {"good": {one: trials.alone(one) for one in request["good"]}}
    plain = told["good"][uri]
    told["again"] = trials.twice(uri)
    told["killed"] = [trials.killed(uri, at) for at in _spread(plain.get("steps", 0))]
    told["together"] = trials.together(uri)
    told["missing"] = {one: trials.alone(one) for one in request["missing"]}
    for name in request["secrets"]:
        os.environ[name] = SECRET
    asked = [uri, *request["missing"]] if request["secrets"] else []
    told["secretive"] = [trials.alone(one, secrets=request["secrets"]) for one in asked]
    return told


class Trials:
    """Fetches, each into a cache of its own unless it is about a second one."""

    def __init__(self, source: ModelSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._homes = 0

    def alone(self, uri: str, secrets: list[str] | None = None) -> dict[str, Any]:
        """One fetch from nothing; its steps, and what it changed elsewhere."""
        home = self._home()
        for name in secrets or ():
            (home / "secrets").mkdir(exist_ok=True)
            (home / "secrets" / name).write_text(SECRET)
        return _collect(_fork(lambda: self._fetch(uri, home)))

    def twice(self, uri: str) -> list[dict[str, Any]]:
        """One fetch, and the same again."""
        home = self._home()
        return [_collect(_fork(lambda: self._fetch(uri, home))) for _ in range(2)]

    def killed(self, uri: str, at: int) -> dict[str, Any]:
        """What a fetch finds that follows on one that was killed at this step."""
        home = self._home()
        _collect(_fork(lambda: self._fetch(uri, home, at)))
        return {**_collect(_fork(lambda: self._fetch(uri, home))), "at": at}

    def together(self, uri: str) -> list[dict[str, Any]]:
        """Several that begin at once, in one cache."""
        home = self._home()
        started = [_fork(lambda: self._fetch(uri, home)) for _ in range(TOGETHER)]
        return [_collect(one) for one in started]

    def _home(self) -> Path:
        self._homes += 1
        home = self._folder / str(self._homes)
        (home / "models").mkdir(parents=True)
        return home

    def _fetch(self, uri: str, home: Path, kill_at: int = 0) -> dict[str, Any]:
        os.environ["RAYLLM_HOME"] = str(home)
        steps, reports = Steps(home / "models", kill_at), list[str]()

        def report(detail: str) -> None:
            reports.append(detail)
            steps.step()

        try:
            path = self._source.fetch(uri, home / "models", report)
        except RayllmError as error:
            parts = {"message": error.message, "cause": error.cause, "cure": error.cure}
            return {"refused": parts, "text": "".join(traceback.format_exception(error)), "reports": reports}
        except Exception as error:  # noqa: BLE001 - told as what it is: a rule fails with it
            text = "".join(traceback.format_exception(error))
            return {"error": f"{type(error).__name__}: {error}", "text": text, "reports": reports}
        count, outside = steps.count, list(steps.outside)
        return {**_described(path), "steps": count, "outside": outside, "reports": reports, "text": ""}


def _described(path: Any) -> dict[str, Any]:
    """What was returned: its form, and its content without the place where it is."""
    if not isinstance(path, Path) or not path.exists():
        return {"path": repr(path), "form": "nothing", "content": ""}
    whole = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        whole.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
    form = "folder" if path.is_dir() else "file"
    told = {"path": str(path), "form": form, "content": f"{len(files)} files, {whole.hexdigest()[:16]}"}
    return {**told, "absolute": path.is_absolute(), "files": len(files)}


def _spread(steps: int) -> Iterator[int]:
    """Some of the steps from 1 on, the first and the last among them."""
    wanted = min(KILLS, steps)
    yield from sorted({1 + round(number * (steps - 1) / max(1, wanted - 1)) for number in range(wanted)})


def _fork(job: Callable[[], dict[str, Any]]) -> tuple[int, int]:
    """A process that does it and tells what came of it: its pid, and where to read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        told = json.dumps(job()).encode()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(told)
    finally:
        os._exit(0)


def _collect(started: tuple[int, int]) -> dict[str, Any]:
    pid, reading = started
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(told) if told else {"error": "the process ended without a word", "text": ""}
    return found
