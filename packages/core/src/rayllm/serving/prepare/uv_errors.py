"""What to do about uv's errors, by their cause."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rayllm.serving.prepare.room import nearest_existing

_CURES = (
    (
        r"not found in the provided package locations|--no-index|Network connectivity is disabled.*--offline",
        (
            "no index is asked here (`offline` in the file, or pip's no-index), and the folders of `find_links` lack "
            "what the cause names: fill one with `rayllm env download ENGINE --into FOLDER` and bring it to the node"
        ),
    ),
    (
        r"Failed to fetch: .?https://download\.pytorch\.org/whl/cpu",
        (
            "no index of this node has a CPU build of torch, and PyTorch's own can't be reached: put one in reach of "
            "pip (extra-index-url, find-links) or uv, or set UV_TORCH_BACKEND"
        ),
    ),
    (
        r"No space left on device|os error 28|Disk quota exceeded|os error 122",
        "free some disk space: {folder} has {free_gb:.1f} GB left, or set RAYLLM_HOME and UV_CACHE_DIR to another disk",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|self.signed certificate",
        (
            "the package index shows a certificate this node does not trust: name its authority in pip's `cert` "
            "setting or in SSL_CERT_FILE"
        ),
    ),
    (
        r"\b40[13]\b.*(Unauthorized|Forbidden)|Unauthorized|Missing credentials",
        (
            "the package index wants credentials: put them in its address (pip's index-url or UV_INDEX) or in ~/.netrc "
            "on the node"
        ),
    ),
    (
        r"No interpreter found|No download found for|python-build-standalone|is not available; .*Python",
        (
            "install a Python in that range on the node, or let uv download one (it needs GitHub in reach, "
            "or UV_PYTHON_INSTALL_MIRROR)"
        ),
    ),
    (
        (
            r"dns error|error sending request|Connection refused|Could not connect|tcp connect error|timed out|"
            r"operation timed out|Failed to fetch|Failed to download|No route to host|Network connectivity is disabled"
        ),
        (
            "the package index can't be reached from this node: check its address (pip's index-url or "
            "UV_DEFAULT_INDEX), the proxy (HTTPS_PROXY) and the network, then start again: what was downloaded is kept"
        ),
    ),
    (
        r"Hash mismatch",
        "a download is not what its index promised: clean uv's cache with `uv cache clean`, then start again",
    ),
    (
        r"Permission denied|os error 13",
        "the user that runs Ray must be able to write to {folder} and to uv's cache (UV_CACHE_DIR)",
    ),
    (
        r"No solution found|was not found in the|no version of|no wheels with a matching|can't be installed",
        (
            "the package indexes of this node lack a version that is needed: check pip's index-url and find-links, "
            "or UV_INDEX, on the node"
        ),
    ),
)


def cure_for(text: str, folder: Path) -> str:
    """What a person can do about an error of uv.

    Args:
        text: uv's own words.
        folder: where it was writing to.
    """
    for pattern, cure in _CURES:
        if re.search(pattern, text, re.IGNORECASE):
            return cure.format(folder=folder, free_gb=shutil.disk_usage(nearest_existing(folder)).free / 1e9)
    return "the cause above is uv's own; start again once it is gone"
