"""Starting an engine's process: its environment variables, its command, its first answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rayllm.engines import AnyEngine, Command
from rayllm.errors import DeploymentError
from rayllm.serving.engine.client import FAULTS, EngineClient
from rayllm.serving.engine.log_tail import error_of, tail
from rayllm.serving.processes.supervised import Supervised

POLL_S = 0.2
_KILLED = "if nobody killed it, the node had no memory left: `dmesg` there tells; reserve some with resources.memory"
FIRST_ANSWER_S = 300.0
"""Seconds for the first token: the first request may compile kernels."""
_KEEP = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "HOSTNAME", "LD_LIBRARY_PATH"}
    | {"RAYLLM_HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR"}
)
_KEEP_PREFIXES = ("LC_", "HF_", "SSL_", "NCCL_", "GLOO_", "CUDA_", "NVIDIA_")
_KEEP_ANY_CASE = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
)


def engine_env(environ: Mapping[str, str], command: Command, gpu_ids: list[str]) -> dict[str, str]:
    """The environment of an engine: an allow-list of the worker's, the command's own, and the GPUs it may see.

    A Ray worker carries OMP_NUM_THREADS, PYTHONBREAKPOINT and RAY_* variables, tokens among them, that are none of an
    engine's business; and with `num_gpus: 0` Ray hides no GPU.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEEP or name.startswith(_KEEP_PREFIXES) or name.upper() in _KEEP_ANY_CASE
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **command.env, "CUDA_VISIBLE_DEVICES": ",".join(gpu_ids)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngine:
    """An engine that is starting or serving."""

    process: Supervised
    client: EngineClient
    log: Path

    @classmethod
    def start(
        cls, engine: AnyEngine, command: Command, *, base_url: str, log: Path, marker: str, gpu_ids: list[str]
    ) -> RunningEngine:
        """Start the process; its output goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        env = engine_env(os.environ, command, gpu_ids)
        process = Supervised.start(command.argv, env=env, log=log, marker=marker)
        return cls(process=process, client=EngineClient(base_url, command, engine.gauges), log=log)

    async def wait_until_serving(self, engine: AnyEngine, model: str, report: Callable[[str], None]) -> None:
        """Return after the engine's first real answer; meanwhile `report` gets its last log line.

        Raises:
            DeploymentError: it stopped, or answers for another model; the cause is its own last error.
        """
        while not await self.client.is_ready():
            if self.process.poll() is not None:
                raise self.failure(engine, "stopped while starting", topic="engine-start")
            if last := tail(self.log, 1):
                report(last[0])
            await asyncio.sleep(POLL_S)
        report("asking for a first token")
        try:
            names = await self.client.served_models()
            if model not in names:
                raise DeploymentError(
                    f"{self.client.base_url} serves {', '.join(names) or 'nothing'} instead of {model}",
                    cure="another program took the port between two looks; run `rayllm up` again",
                    topic="engine-start",
                )
            await self.client.try_one_token(model, FIRST_ANSWER_S)
        except FAULTS as problem:
            what = f"did not answer its first prompt ({problem!r})"
            raise self.failure(engine, what, topic="engine-start") from problem

    def failure(self, engine: AnyEngine, what: str, *, topic: str) -> DeploymentError:
        """What a person needs to know about an engine that died or fails."""
        lines = tail(self.log)
        status = self.process.poll()
        how = "" if status is None else f" (killed by signal {-status})" if status < 0 else f" (exit status {status})"
        cure = engine.explain("\n".join(lines)) if engine.explain else None
        if status == -signal.SIGKILL:
            return DeploymentError(f"the engine {what}{how}", cure=cure or _KILLED, topic=topic if cure else "memory")
        return DeploymentError(f"the engine {what}{how}", cause=error_of(lines) or None, cure=cure, topic=topic)

    async def stop(self, grace_s: float | None = None) -> None:
        """End the process and everything it started."""
        await self.client.close()
        await asyncio.to_thread(self.process.stop, grace_s)
