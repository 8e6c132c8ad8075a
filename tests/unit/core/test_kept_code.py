"""The gateway's hold on the code packages of its deployment."""

from __future__ import annotations

import asyncio

import pytest

from rayllm.serving import kept_code

PACKAGES = ["gcs://rayllm-1.zip", "gcs://rayllm-2.zip"]


def test_it_is_renewed_until_cancelled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each package, again and again; where Ray does not answer once, the others and the next round go on."""
    asked, loops = list[str](), list[asyncio.AbstractEventLoop]()
    enough = asyncio.Event()

    def pin(uri: str) -> None:
        asked.append(uri)
        if len(asked) == 1:
            raise ConnectionError("the GCS is gone")
        if len(asked) == 5:
            loops[0].call_soon_threadsafe(enough.set)

    monkeypatch.setattr(kept_code, "_pin", pin)
    monkeypatch.setattr(kept_code, "RENEW_S", 0)

    async def keep_for_a_while() -> None:
        loops.append(asyncio.get_running_loop())
        keeping = asyncio.create_task(kept_code.keep(PACKAGES))
        await asyncio.wait_for(enough.wait(), 10)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

    asyncio.run(keep_for_a_while())
    assert asked[:5] == [*PACKAGES, *PACKAGES, PACKAGES[0]]
    assert "gcs://rayllm-1.zip could not be renewed" in caplog.text


def test_it_outlives_a_renewal() -> None:
    """Several may fail before Ray lets go."""
    assert kept_code.KEPT_S > 5 * kept_code.RENEW_S


class Gcs:
    """What Ray's client of the GCS can do with packages."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.lacks = False

    def internal_kv_keys(self, prefix: bytes, namespace: bytes | None) -> list[bytes]:
        """The names of all packages."""
        assert (prefix, namespace) == (b"gcs://", None)
        return [uri.encode() for uri in PACKAGES]

    def pin_runtime_env_uri(self, uri: str, seconds: int) -> None:
        """Keep one."""
        if self.lacks:
            raise AttributeError("pin_runtime_env_uri")
        self.kept[uri] = seconds


def test_a_head_that_starts_again_keeps_all(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is there; a Ray that can't be asked starts all the same."""
    gcs = Gcs()
    kept_code.keep_all(gcs)
    assert gcs.kept == dict.fromkeys(PACKAGES, kept_code.KEPT_S)
    gcs.lacks = True
    kept_code.keep_all(gcs)
    assert "could not be renewed" in caplog.text
