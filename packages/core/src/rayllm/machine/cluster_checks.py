"""What `doctor` asks of a file's cluster, and of what the file needs to reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from rayllm.checks import Check
from rayllm.deployment.session import Session

HUB_S = 5.0


def probes(session: Session) -> dict[str, Callable[[], Iterable[Check]]]:
    """The questions about this deployment, by name."""
    asked: dict[str, Callable[[], Iterable[Check]]] = {"cluster": lambda: cluster_checks(session)}
    checked = session.checked
    if check := checked.backend.check:
        asked[f"backend {checked.backend.name}"] = lambda: check(checked.backend_options)
    if any(model.source.startswith("hf:") for model in checked.config.models.values()):
        asked["hub"] = hub_checks
    return asked


def cluster_checks(session: Session) -> Iterator[Check]:
    """Is it there, does it answer, does it take the token, and is its Ray one that RayLLM works with.

    Raises:
        ClusterError: one of them is not so.
    """
    from rayllm.cluster.ray_version import require_supported
    from rayllm.cluster.serve_api import ServeApi

    cluster = session.find()
    if cluster is None:
        yield Check(name="cluster", detail=f"{session.name} is not running; rayllm up starts it")
    elif cluster.state != "ready":
        detail = f"{cluster.state}: {cluster.reason}"
        yield Check(
            name="cluster", state="fail" if cluster.state == "failed" else "warn", detail=detail, cure="rayllm up"
        )
    else:
        with ServeApi.of(cluster) as api:
            version = str(api.version()["ray_version"])
        require_supported(version, cluster.dashboard_url)
        yield Check(name="cluster", detail=f"Ray {version} at {cluster.dashboard_url} answers, and takes the token")


def hub_checks() -> Iterator[Check]:
    """Whether the Hugging Face hub can be reached from here."""
    import httpx

    address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        httpx.head(address, timeout=HUB_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"{address} can't be reached: {error}"
        cure = "models that are on the nodes serve without it; else set a proxy (HTTPS_PROXY) or a mirror (HF_ENDPOINT)"
        yield Check(name="hub", state="warn", detail=detail, cure=cure)
    else:
        yield Check(name="hub", detail=f"{address} answers")
