"""A platform that is a folder, and a backend for it that keeps every rule."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayllm.testing import Platform

TOKEN = "t0ken-of-the-cluster"
BACKEND = '''
import os, subprocess, sys
from pathlib import Path
from rayllm import Backend, Cluster, ClusterBackend, ClusterError, InputError, Options, PlatformNode, hookimpl

class DiskOptions(Options):
    """Where its clusters are."""
    folder: str
    """The platform."""
    url: str
    """Of Ray's dashboard."""
    disk: bool = False
    """Whether its machine has one."""

def call(verb, path, text=""):
    """One call of the platform: make (once), write, remove, list."""
    if verb == "make" and (path.parent.parent / f"no {path.parent.name}").exists():
        raise OSError("the quota is used up")
    if verb == "list":
        return sorted(entry.name for entry in path.glob("*"))
    if verb == "run":
        return subprocess.run(["true", text], check=True)
    path.parent.mkdir(exist_ok=True)
    if verb == "remove":
        return path.unlink(missing_ok=True)
    if verb == "make" and path.exists():
        return False
    if verb == "make":
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
    path.write_text(text)
    path.chmod(0o600)

class DiskBackend(ClusterBackend):
    def __init__(self, options):
        self.options = options
        self.folder = Path(options.folder)

    def ensure(self, spec, progress):
        place = self.folder / spec.name
        progress("cluster", "asking for a machine")
        try:
            created = call("make", place / "machine")
        except OSError as error:
            raise ClusterError("no machine", cause=str(error), cure="ask for more") from error
        for name, value in spec.secrets.items():
            call("write", place / name, value)
        call("make", place / "address")
        call("make" if self.options.disk else "remove", place / "disk")
        progress("cluster", "ready", done=True)
        return self.describe(spec.name, "ready", created)

    def find(self, name):
        there = call("list", self.folder / name)
        if not there:
            return None
        return self.describe(name, "ready" if "address" in there else "starting", False)

    def destroy(self, name, progress):
        for thing in call("list", self.folder / name):
            call("remove", self.folder / name / thing)
        progress("cluster", "gone", done=True)

    def describe(self, name, state, created):
        where = dict(dashboard_url=self.options.url, gateway_url="http://127.0.0.1:8000")
        nodes = [PlatformNode(name=f"{name}-machine", state="running", group="all")]
        return Cluster(name=name, **where, token="t0ken-of-the-cluster", state=state, created=created, nodes=nodes)

    def scale(self, name, group, count, progress):
        if group != "all":
            raise InputError(f"there is no group {group}", cure="there is all")

    def logs(self, name, node, *, lines):
        if node != f"{name}-machine":
            raise InputError(f"there is no node {node}", cure=f"there is {name}-machine")
        yield "it hums"

@hookimpl
def rayllm_backends():
    can = {"create", "nodes"}
    yield Backend(name="disk", summary="a folder", options=DiskOptions, open=DiskBackend, capabilities=can)
'''


class DiskPlatform(Platform):
    """The folder, looked at without the backend."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url

    @property
    def options(self) -> Mapping[str, Any]:
        """Where it is."""
        return {"folder": str(self._folder), "url": self._url}

    @property
    def other_options(self) -> Mapping[str, Any]:
        """With a disk."""
        return {**self.options, "disk": True}

    def made(self, name: str) -> Collection[str]:
        """A file for each thing; a number behind its name tells it from another one."""
        return [path.name.partition("-")[0] for path in (self._folder / name).glob("*")]

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        """No machine is to be had."""
        no = self._folder / f"no {name}"
        no.touch()
        try:
            yield
        finally:
            no.unlink()

    def secret(self, name: str, secret: str) -> tuple[str, int] | None:
        """A file as well."""
        file = self._folder / name / secret
        return (file.read_text(), file.stat().st_mode & 0o777) if file.exists() else None
