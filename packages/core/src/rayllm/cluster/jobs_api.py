"""Ray's jobs over the dashboard's REST API: a command that runs on the cluster, its state and what it prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from rayllm.cluster.serve_api import ServeApi

ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
"""States after which a job's state is the same for ever (`ray.job_submission.JobStatus`)."""
MODULE = "rayllm.serving.prepare.job"
_PYTHON = (
    r"sed -nE 's|^.* (/.*)/lib(64)?/python[0-9.]+/site-packages/ray/_raylet\.so$|\1/bin/python|p' /proc/$PPID/maps"
)
"""Ray's own Python: the shell of a job is the child of a worker, which has loaded Ray from there. What PATH names need
not be it: a Ray that was started by its whole path leaves PATH alone."""


class JobsApi(ServeApi):
    """A client of one cluster that also knows its jobs."""

    def submit(self, job: str, entrypoint: str, code: str) -> None:
        """Start a command on the head node; it holds no CPU and no GPU.

        Args:
            job: the id that it gets.
            entrypoint: for a shell.
            code: URI of the code package that it and its tasks have.

        Raises:
            ClusterError: the cluster does not take it.
        """
        body = {"entrypoint": entrypoint, "submission_id": job, "runtime_env": {"py_modules": [code]}}
        self._ask("POST", "/api/jobs/", json=body, timeout=120.0)

    def job(self, job: str) -> tuple[str, str]:
        """Its state, and Ray's words on it: `("FAILED", "…")`."""
        found = self._get(f"/api/jobs/{job}")
        return str(found["status"]), str(found.get("message") or "")

    def job_log(self, job: str) -> str:
        """All that it has printed so far."""
        return str(self._get(f"/api/jobs/{job}/logs")["logs"] or "")

    def stop_job(self, job: str) -> None:
        """Ask it to end; one that has ended is no error."""
        self._ask("POST", f"/api/jobs/{job}/stop")

    def delete_job(self, job: str) -> None:
        """Forget one that has ended."""
        self._ask("DELETE", f"/api/jobs/{job}")


def entrypoint(module: str, nodes: Mapping[str, Any]) -> str:
    """The shell command of a job that runs `python -m MODULE '{…}'` on nodes. Pure.

    Args:
        module: what runs there.
        nodes: what it is told, by node id.
    """
    told = shlex.quote(json.dumps({"module": module, "nodes": nodes}, separators=(",", ":")))
    return f'p=$({_PYTHON} | head -n 1); [ -x "$p" ] || p=python3; exec "$p" -m {MODULE} {told}'
