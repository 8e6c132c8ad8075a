"""Why an application does not run, as far as the platform and its own log tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, CaiError, NotFoundError
from rayllm_backend_cai.api.records import Application, Usage

LOG = "supervisor.log"
SILENT = "it wrote nothing to the project's disk: is that full, or not to be written to?"
_LINES = 15
_SIGNALLED = 128
_WAITING = frozenset({"scheduling", "pending"})
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


def why_ended(client: CaiClient, application: Application) -> str:
    """Why an application ended, in one line; empty where the platform tells nothing. One request.

    Raises:
        CaiError: the platform refuses to tell.
    """
    return told_of(application, client.account.usage({"name": application.name}))


def told_of(application: Application, usage: Iterable[Usage]) -> str:
    """The same from the page of usage, for several applications at once."""
    mine = [one for one in usage if one.name == application.name and one.workload_type.lower() in {"application", ""}]
    if not mine:
        return ""
    return _in_words(max(mine, key=lambda one: one.created_at or _NEVER))


def last_words(client: CaiClient, project: str, cluster: str, node: str, lines: int = _LINES) -> str:
    """The end of what a node's supervisor wrote; empty where it wrote nothing.

    Raises:
        CaiError: the platform refuses to tell.
    """
    path = shared.cluster_folder(cluster) / "logs" / node / LOG
    try:
        text = client.files.download(project, str(path)).decode(errors="replace")
    except NotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def explained(client: CaiClient, project: str, cluster: str, application: Application) -> str:
    """Both, for the cause of an error: that they can't be read is no reason to hide the error itself."""
    try:
        parts = [why_ended(client, application), last_words(client, project, cluster, application.name)]
        if application.status == "failed" and not parts[-1]:
            parts[-1] = SILENT
    except CaiError as error:
        return f"why is not known: {error.message}"
    return "\n".join(filter(None, parts)) or "neither the platform nor a log tells why: its page in the workspace may"


def _in_words(row: Usage) -> str:
    k8s = row.k8s_info
    if row.status in _WAITING:
        return "it waits for a place: the user's quota is used up, or no machine has room for it"
    if row.oom_killed or k8s.k8s_reason == "OOMKilled":
        return f"out of memory: it took more than its {row.memory:g} GB"
    parts = [row.message, k8s.k8s_message, "" if k8s.k8s_reason in {"", "Error", "Completed"} else k8s.k8s_reason]
    code = k8s.k8s_exit_code
    if code > _SIGNALLED:
        parts.append(f"killed by signal {code - _SIGNALLED}")
    elif code or k8s.k8s_reason == "Completed":
        parts.append(f"its script ended with status {code}")
    return ", ".join(dict.fromkeys(filter(None, parts)))
