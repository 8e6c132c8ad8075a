"""The fixture that authors of plugins serve with: models come, change and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayllm.testing.local_cluster import LocalCluster

FAKE: dict[str, Any] = {"engine": "fake", "source": "/", "resources": {"cpus": 0.25}, "drain_s": 1}
HI: Any = [{"role": "user", "content": "hi"}]


def test_models_are_served(local_cluster: LocalCluster) -> None:
    """One, then another beside it; an OpenAI client asks both."""
    said = {**FAKE, "options": {"answer": "two says so"}}
    with local_cluster.serve({"one": FAKE}).openai() as client:
        assert [model.id for model in client.models.list()] == ["one"]
    with local_cluster.serve({"one": FAKE, "two": said}).openai() as client:
        answer = client.chat.completions.create(model="two", messages=HI, max_tokens=3)
    assert answer.choices[0].message.content == "two says so"
    local_cluster.stop()
    for process in Path("/proc").glob("[0-9]*"):
        assert b"plugin-test" not in environ(process)


def environ(process: Path) -> bytes:
    """Nothing for one that has ended, or is another user's."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
