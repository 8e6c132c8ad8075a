"""A local cluster's folder, `clusters/NAME` in RayLLM's home: what was asked for and what runs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rayllm.errors import ClusterError
from rayllm.paths import home


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What `ensure` was asked for; it alone writes this."""

    gateway_host: str
    gateway_port: int
    gateway_tls: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What runs; written by `ensure` before it starts the supervisor, then by the supervisor alone."""

    id: str
    """Tells this cluster from an earlier one of the same name."""
    temp_dir: str
    """Ray's own folder: short, since the paths of Unix sockets are."""
    stage: Literal["starting", "ready", "failed"] = "starting"
    reason: str = ""
    """Why it is in this stage; a program's own words if it failed."""
    since: float = 0.0
    """When it came into this stage, in seconds since 1970."""
    supervisor: str = ""
    """Identity of the supervisor's process (`processes.identity`); empty until it has started."""
    gcs_port: int = 0
    dashboard_port: int = 0
    metrics_port: int = 0
    serve_port: int = 0
    """Where Serve's own proxy is to listen."""


class Folder:
    """The files of the cluster `name`, readable by this user alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = home().absolute()
        self.path = self.home / "clusters" / name
        self.lock = self.path.with_name(f"{name}.lock")
        self.logs = self.path / "logs"
        """Logs of the cluster that runs, or ran last."""
        self.token_file = self.path / "token"
        self.storage = self.path / "gcs"
        """What Ray keeps of the cluster's state, so that Serve's applications survive the head."""
        self._wanted = self.path / "wanted.json"
        self._state = self.path / "state.json"

    def marker(self, state: State) -> str:
        """Beginning of `RAYLLM_OWNER` of every process of this cluster."""
        return f"local:{self.name}:{state.id}"

    def state(self) -> State | None:
        """What runs, or ran and was not cleared up; None if there is nothing."""
        data = _read(self._state)
        return None if data is None else State(**data)

    def write_state(self, state: State) -> None:
        """Replace the state; readers see the old or the new one."""
        _write(self._state, asdict(state))

    def wanted(self) -> Wanted | None:
        """What was asked for last; None if nothing was."""
        data = _read(self._wanted)
        return None if data is None else Wanted(**data)

    def write_wanted(self, wanted: Wanted) -> None:
        """Replace what is asked for."""
        _write(self._wanted, asdict(wanted))

    def token(self) -> str:
        """Ray's token, a secret; empty if there is none."""
        try:
            return self.token_file.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def entries(self) -> list[Path]:
        """All that is there but the logs; a command that was killed early leaves some of it without a state."""
        return [entry for entry in self.path.glob("*") if entry != self.logs]

    def forget(self) -> None:
        """Remove everything but the logs; the state last, so that whoever is interrupted here is found again."""
        entries = sorted(self.entries(), key=lambda entry: entry == self._state)
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def write_token(self, token: str) -> None:
        """Keep the token where only this user can read it."""
        write_private(self.token_file, token)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, tracebacks without their frames; nothing if there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return "\n".join(lines[-count:])


def _write(path: Path, data: dict[str, Any]) -> None:
    write_private(path, json.dumps(data, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:  # cut short by a disk that was full, or edited
        cure = f"if nothing of it runs any more, remove the folder {path.parent}"
        raise ClusterError(f"{path} can't be read", cause=str(error), cure=cure, topic="leftovers") from error
