"""What applications and jobs of a RayLLM cluster run. Made by `rayllm up`; edits are lost.

It unpacks RayLLM's code and hands over to the Python that it is for, again whenever that ends: the platform starts
nothing again by itself. A kernel runs this text: there is no `__file__`, and an event loop runs already.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""What lived longer is started again at once; after short lives there is a pause that doubles."""
GRACE_S = 25.0
"""Seconds between the pod's SIGTERM and SIGKILL of what runs here; Kubernetes gives 30."""
MOST_LOG = 4 << 20
"""Bytes of a log on the shared disk; one older file of that size is kept beside it."""
_LAST_WORDS_S = 2.0
_UPLOAD_S = 60.0
"""For code that is missing or broken: an operator may be uploading it again, and nothing is written over in place."""
NOT_WHOLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What a zip raises that is being uploaded."""
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Log:
    """What is printed, which the platform shows, and a bounded copy on the shared disk, which operators can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Add a line; a disk that fails costs its copy alone."""
        with self._lock:
            sys.stdout.write(line.decode(errors="replace"))
            sys.stdout.flush()
            try:
                self._keep(line)
            except OSError as error:
                sys.stdout.write(f"{self._path}: {error}\n")

    def say(self, text: str) -> None:
        """Add a line of this script's own."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self.write(f"{now} run.py {text}\n".encode())

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()

    def _keep(self, line: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        if self._file.tell() + len(line) > MOST_LOG:
            self._file.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._file = self._path.open("ab")
        self._file.write(line)
        self._file.flush()


class Runner:
    """Runs one program after the other, until the pod is stopped."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._wake, self._told = os.pipe()

    def listen(self) -> None:
        """Pass signals on from now on; only a main thread may, and a kernel's has the script."""
        for number in STOPS:
            signal.signal(number, self._stop)

    def keep(self, unpack: Unpack, argv: list[str], env: Mapping[str, str]) -> None:
        """Run a program again and again."""
        short = 0
        while not self._stopped:
            began = time.monotonic()
            try:
                unpack()
                self._log.say(f"ended with status {self.once(argv, env)}")
            except NOT_WHOLE as problem:
                self._log.say(f"{type(problem).__name__}: {problem}")
            short = 0 if time.monotonic() - began > STEADY_S else short + 1
            self._pause(min(LONGEST_PAUSE_S, 2.0 ** (short - 1)) if short else 0.0)

    def once(self, argv: list[str], env: Mapping[str, str]) -> int:
        """Run a program to its end; returns its exit status.

        Its standard input is a pipe that nothing is written to: its end tells that this process is gone.
        """
        self._child = child = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if self._stopped:  # told while it was being started
            child.terminate()
        # In a thread: what the program leaves behind may hold its output open for ever.
        pump = threading.Thread(target=self._pump, args=(child.stdout,), daemon=True)
        pump.start()
        status = child.wait()
        self._child = None
        pump.join(_LAST_WORDS_S)
        if child.stdin:
            child.stdin.close()
        return status

    def patiently(self, unpack: Unpack) -> None:
        """Unpack, while the code may still be coming.

        Raises:
            OSError, EOFError, zipfile.BadZipFile, zlib.error: it did not come.
        """
        end = time.monotonic() + _UPLOAD_S
        while not self._stopped:
            try:
                return unpack()
            except NOT_WHOLE as problem:
                if time.monotonic() > end:
                    raise
                self._log.say(f"{type(problem).__name__}: {problem}")
            self._pause(1.0)
        return None

    def _pump(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                self._log.write(line)

    def _pause(self, seconds: float) -> None:
        if seconds and not self._stopped:
            self._log.say(f"again in {seconds:g} s")
            select.select([self._wake], [], [], seconds)

    def _stop(self, number: int, frame: object) -> None:  # noqa: ARG002
        self._stopped = True
        os.write(self._told, b"x")
        if self._child is not None:
            self._child.terminate()
            signal.signal(signal.SIGALRM, self._kill)
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    def _kill(self, number: int, frame: object) -> None:  # noqa: ARG002
        if self._child is not None:
            self._child.kill()


class Unpack:
    """Unpacks a zip beside itself, whole or not at all, also where several pods do at once."""

    def __init__(self, archive: Path, mark: str) -> None:
        self._archive = archive
        self._draft = archive.with_name(f".{archive.stem}.{mark}")
        self.folder = archive.with_suffix("")

    def __call__(self) -> None:
        """Do it, unless it is done.

        Raises:
            OSError: there is no such file, or the disk fails.
            zipfile.BadZipFile: it is not whole.
        """
        if not self.folder.is_dir():
            self._unpack()
        for left in self.folder.parent.glob(f".{self.folder.name}.*"):  # of pods that were killed, or come second
            shutil.rmtree(left, ignore_errors=True)

    def _unpack(self) -> None:
        shutil.rmtree(self._draft, ignore_errors=True)
        try:
            with zipfile.ZipFile(self._archive) as packed:
                packed.extractall(self._draft)
            self._draft.rename(self.folder)
        except OSError:
            if not self.folder.is_dir():  # else another pod was first, and has taken this draft away
                raise


def keep_private(folder: Path, log: Log) -> None:
    """Let this user alone read a folder and its files: what was uploaded has another mode."""
    try:
        for path in [folder, *folder.glob("*")] if folder.is_dir() else ():
            path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError as error:  # replaced just now, or the disk fails: the head looks again
        log.say(f"{type(error).__name__}: {error}")


def main(environ: Mapping[str, str]) -> None:
    """Do this pod's task: keep a node, or build the nodes' environment.

    Raises:
        SystemExit: the environment could not be built.
    """
    home = Path(environ["HOME"]) / ".rayllm"
    task, node = environ["RAYLLM_CAI_TASK"], environ.get("RAYLLM_CAI_NODE", "environment")
    log = Log(home / "clusters" / environ.get("RAYLLM_CAI_CLUSTER", "none") / "logs" / node / "supervisor.log")
    engine = environ.get("CDSW_ENGINE_ID", "here")
    unpack = Unpack(home / "code" / f"{environ['RAYLLM_CAI_CODE']}.zip", f"{engine}.{os.getpid()}")
    runner = Runner(log)
    runner.listen()
    log.say(f"{task} {node} in pod {engine} at {environ.get('CDSW_IP_ADDRESS', '?')}")
    keep_private(home / "secrets", log)
    if task == "environment":
        runner.patiently(unpack)
        script = unpack.folder / "rayllm_backend_cai/bootstrap/build.py"
        if status := runner.once([sys.executable, "-u", str(script)], environ):
            raise SystemExit(f"building the environment failed with status {status}")
        return
    python = home / "serving" / environ["RAYLLM_CAI_SERVING"] / "bin/python"
    env = {**environ, "PYTHONPATH": str(unpack.folder), "RAYLLM_HOME": str(home)}
    runner.keep(unpack, [str(python), "-u", "-m", "rayllm_backend_cai.node"], env)


if "RAYLLM_CAI_TASK" in os.environ:  # in a pod; elsewhere it is only read
    main(os.environ)
