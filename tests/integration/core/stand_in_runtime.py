"""A stand-in for docker or podman: a client on PATH, and a daemon that really runs what the client asks for.

As with docker, the program in the container is the daemon's child and not the client's, has only the variables that
were passed by `--env`, and lives on when its client is killed. It sees the machine's own files, but a script that no
mount covers is not found.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENT = """#!{python} -I
import json, os, signal, socket, sys

def ask(**what):
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect({path!r})
    except OSError:
        print("Cannot connect to the Docker daemon at unix://{path}. Is the docker daemon running?", file=sys.stderr)
        sys.exit(1)
    link.sendall(json.dumps(what).encode() + b"\\n")
    return link.makefile("rb")

argv = sys.argv[1:]
if argv[0] == "run":
    name = argv[argv.index("--name") + 1]
    signal.signal(signal.SIGTERM, lambda *_: ask(argv=["kill", name], env={{}}).read())
for line in ask(argv=argv, env=dict(os.environ)):
    word, _, rest = line.partition(b" ")
    if word == b"exit":
        sys.exit(int(rest))
    os.write(1, rest)
sys.exit(1)
"""


@dataclass
class Daemon:
    """Answers the clients in `folder`, until `stop`."""

    folder: Path
    images: set[str] = field(default_factory=set)
    registry: set[str] = field(default_factory=set)
    """What can be pulled."""
    refuses: str = ""
    """What `run` fails with."""
    containers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_UNIX))

    def client(self, kind: str) -> None:
        """Put a client of this name on PATH."""
        program = self.folder / kind
        program.write_text(CLIENT.format(python=sys.executable, path=str(self._socket)))
        program.chmod(0o755)

    def start(self) -> None:
        """From now on it answers."""
        self._listener.bind(str(self._socket))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """End what still runs, and answer no more."""
        with suppress(OSError):  # it never started
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for process in list(self.containers.values()):
            process.kill()
            process.wait()

    @property
    def _socket(self) -> Path:
        return self.folder / "daemon.sock"

    def _accept(self) -> None:
        with suppress(OSError):  # it was stopped
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as reading:
            asked = json.loads(reading.readline())
            argv = asked["argv"]
            self.calls.append(argv)
            status = getattr(self, f"_{argv[0]}")(link, argv[1:], asked["env"])
            with suppress(OSError):  # the client was killed
                link.sendall(b"exit %d\n" % status)

    def _ps(self, client: socket.socket, argv: list[str], _: Any) -> int:
        wanted = argv[argv.index("--filter") + 1].removeprefix("label=") if "--filter" in argv else ""
        for name in list(self.containers):
            if self.labels[name] == wanted or not wanted:
                say(client, name)
        return 0

    def _image(self, _: socket.socket, argv: list[str], __: Any) -> int:
        return 0 if argv[0] == "inspect" and argv[1] in self.images else 1

    def _pull(self, client: socket.socket, argv: list[str], _: Any) -> int:
        (image,) = argv
        name, _, tag = image.partition(":")
        say(client, f"{tag}: Pulling from {name}")
        if image not in self.registry:
            say(client, f"Error response from daemon: manifest for {image} not found: manifest unknown")
            return 1
        say(client, "4f4fb700ef54: Pull complete")
        self.images.add(image)
        return 0

    def _kill(self, _: socket.socket, argv: list[str], __: Any) -> int:
        self.containers[argv[0]].send_signal(signal.SIGTERM)
        return 0

    def _rm(self, client: socket.socket, argv: list[str], _: Any) -> int:
        name = argv[-1]
        if name not in self.containers:
            say(client, f"Error response from daemon: No such container: {name}")
            return 1
        process = self.containers.pop(name)
        process.kill()
        process.wait()
        return 0

    def _run(self, client: socket.socket, argv: list[str], env: dict[str, str]) -> int:
        if self.refuses:
            say(client, self.refuses)
            return 125
        given: dict[str, list[str]] = {}
        words = iter(argv)
        for word in words:
            if not word.startswith("--"):
                break  # the image
            if word not in {"--rm", "--init"}:
                given.setdefault(word, []).append(next(words))
        inner = [sys.executable if given["--entrypoint"] == ["python3"] else given["--entrypoint"][0], *words]
        seen = [Path(part.removeprefix("target=")) for row in given["--mount"] for part in row.split(",")[2:3]]
        for script in (Path(part) for part in inner if part.endswith(".py")):
            if not seen or not any(script.is_relative_to(place) for place in seen):
                say(client, f"python3: can't open file '{script}': [Errno 2] No such file or directory")
                return 2
        inside = {name: env[name] for name in given["--env"]} | {"PATH": os.defpath}
        name = given["--name"][0]
        self.labels[name] = given["--label"][0]
        with subprocess.Popen(inner, env=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            self.containers[name] = process
            for line in process.stdout or ():
                with suppress(OSError):  # the client was killed
                    say(client, line.decode().rstrip("\n"))
        self.containers.pop(name, None)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode


def say(client: socket.socket, line: str) -> None:
    """A line of the client's output."""
    client.sendall(f"out {line}\n".encode())
