"""Names of files and sockets, relative to `run_dir`, where HAProxy runs.

A socket's path has at most 107 bytes; a home folder's may have more.
"""

from __future__ import annotations

CONFIG_FILE = "haproxy.cfg"
TLS_FILE = "tls.pem"
RUNTIME_SOCKET = "haproxy.sock"
MASTER_SOCKET = "master.sock"
LARGE_CONFIG_FILE = "large.cfg"
"""Of the HAProxy for large bodies."""
LARGE_MASTER_SOCKET = "large-master.sock"
MASTERS = {CONFIG_FILE: MASTER_SOCKET, LARGE_CONFIG_FILE: LARGE_MASTER_SOCKET}
"""Each HAProxy's configuration, and where its master listens. The first one is the front door."""
KEEPER_SOCKET = "keeper.sock"
ADMIN_SOCKET = "admin.sock"
SERVE_SOCKET = "serve.sock"
LARGE_SOCKET = "large.sock"
"""Where the HAProxy for large bodies listens."""
SIZED_SOCKET = "sized.sock"
"""The gateway's second front door: what comes back from it."""
DOOR = "door"
"""Folder of the deployment's door, beside those of its gateways."""
DOOR_SOCKET = "door.sock"
"""In it: where a gateway that leaves calls the door."""
NEXT_SOCKET = "next.sock"
"""The gateway's own front door, for what the old worker gets after a reload."""
