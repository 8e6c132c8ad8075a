"""SHA-256 of large files, remembered as long as a file keeps its size and time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rayllm.paths import home

_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content; read once, then taken from `$RAYLLM_HOME/models/digests/`."""
    facts = path.stat()
    real = str(path.resolve())
    stamp = [real, facts.st_size, facts.st_mtime_ns]
    note = home() / "models" / "digests" / hashlib.sha256(real.encode()).hexdigest()[:24]
    try:
        known = json.loads(note.read_text())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = _read(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


def _read(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
