"""What somebody writes who starts Ray in applications by hand: an application's script, run by the platform.

The head's `address` is given away in a file of the project as soon as its records (GCS) can be reached.
"""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

GCS = os.environ.get("GCS_PORT", "6379")
ADDRESS = Path("address")
TEMPORARY = f"/tmp/rl-{os.environ.get('CDSW_ENGINE_ID')}"  # noqa: S108  paths of sockets are short


class Health(http.server.BaseHTTPRequestHandler):
    """200 for every path."""

    def do_GET(self) -> None:
        """Whoever asks what."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


def answers(address: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, int(GCS))) == 0


def give_away(address: str) -> None:
    """Write the file once the head can be joined."""
    while not answers(address):
        time.sleep(0.05)
    draft = ADDRESS.with_suffix(".draft")
    draft.write_text(address)
    draft.replace(ADDRESS)


def main() -> None:
    """Answer on the application's port and run Ray."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["CDSW_APP_PORT"])), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own, head = os.environ["CDSW_IP_ADDRESS"], os.environ["DASHBOARD_PORT"]
    # Pods of the stand-in share a machine: what does not differ by its address has a free port or a folder of its own.
    argv = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={own}"]
    argv += ["--num-cpus=1", f"--object-store-memory={512 << 20}", f"--temp-dir={TEMPORARY}"]
    argv += ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
    if head:
        threading.Thread(target=give_away, args=(own,), daemon=True).start()
        argv += ["--head", f"--port={GCS}", "--dashboard-host=127.0.0.1", f"--dashboard-port={head}"]
    else:
        while not ADDRESS.exists():
            time.sleep(0.05)
        argv += [f"--address={ADDRESS.read_text()}:{GCS}"]
    subprocess.run(argv, check=False)


if __name__ == "__main__":
    main()
