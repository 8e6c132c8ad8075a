"""uv's errors and what to do about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayllm.serving.prepare.uv_errors import cure_for


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("error: Failed to install\n  cause: No space left on device (os error 28)", "GB left"),
        ("cause: invalid peer certificate: UnknownIssuer", "certificate"),
        ("cause: HTTP status client error (401 Unauthorized) for url (https://a)", "credentials"),
        ("error: No interpreter found for Python >=3.11, <3.14", "install a Python"),
        (
            "cause: error sending request\n  cause: tcp connect error: Connection refused (os error 111)",
            "can't be reached",
        ),
        ("cause: dns error\n  cause: failed to lookup address information", "can't be reached"),
        (
            "error: Failed to fetch: https://download.pytorch.org/whl/cpu/torch/\n  cause: dns error",
            "CPU build of torch",
        ),
        ("error: Hash mismatch for `a==1`", "uv cache clean"),
        ("cause: Permission denied (os error 13)", "must be able to write"),
        ("error: No solution found when resolving dependencies:", "lack a version"),
        ("error: something else", "uv's own"),
    ],
)
def test_cures(tmp_path: Path, text: str, cure: str) -> None:
    """Each cause leads to its own cure, also for a folder that is not there yet."""
    assert cure in cure_for(text, tmp_path / "not" / "there")
