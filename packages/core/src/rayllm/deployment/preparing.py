"""Preparing a cluster's nodes for models before anything of them runs: environments and weights, holding no GPU."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from rayllm.backends import Cluster, Node, Preparation, Progress
from rayllm.cluster.bundle import Bundle
from rayllm.cluster.serve_api import ServeApi
from rayllm.config.schema import ModelConfig
from rayllm.deployment.fit import could_hold
from rayllm.deployment.node_jobs import Line, NodeJob
from rayllm.deployment.proposal import code_for
from rayllm.deployment.serve_config import Json, model_spec
from rayllm.deployment.session import Session
from rayllm.deployment.telling import telling
from rayllm.errors import DeploymentError

MODULE = "rayllm.serving.prepare.on_node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """How a node is prepared for one model."""

    model: str
    """Its name in the file."""
    node: str
    """Ray's id of the node."""
    address: str
    """The node's."""
    state: Literal["ready", "failed"] = "failed"
    """`ready`: a replica that starts there neither builds nor fetches anything."""
    environment: str = ""
    """The environment that RayLLM built for the engine, or the path of its interpreter."""
    version: str = ""
    """Of the engine; empty for one that needs no package."""
    weights: str = ""
    """Folder with the model's files on the node; empty where they were not asked for."""
    size: str = ""
    """What the weights take, in words."""
    free: str = ""
    """Room that is left on the disk of RayLLM's folder, in words."""
    message: str = ""
    """What went wrong, if something did."""
    cause: str = ""
    """Why; a tool's own words."""
    cure: str = ""
    """What to do about it."""
    topic: str = ""
    """Where to read more: `rayllm explain TOPIC`."""


class NotPreparedError(DeploymentError):
    """Some nodes could not be prepared; what is ready stays so."""

    def __init__(self, found: Sequence[Prepared]) -> None:
        self.found = found
        """All of them."""
        self.failed = [one for one in found if one.state == "failed"]
        super().__init__(
            f"{len(self.failed)} of {len(found)} preparations failed", cure="once the causes are gone, again"
        )

    def __str__(self) -> str:
        """Every failure with its node, then the count."""
        return "\n".join([*(f"✘ {one.model} on {_where(one)}  {_error(one)}" for one in self.failed), self.message])


def pull(session: Session, models: Sequence[str] | None, progress: Progress, *, weights: bool) -> list[Prepared]:
    """As `RayLLM.pull`: bring up the cluster, and prepare its nodes."""
    names = list(dict.fromkeys(models or session.checked.config.models))
    for name in names:
        session.require_model(name)
    with telling(session, "pull"):
        code_for(session, names)  # refuses what can't travel, before anything starts
        return prepare(session, session.ensure(progress), names, progress, weights=weights)


def prepare(
    session: Session, cluster: Cluster, models: Collection[str], progress: Progress, *, weights: bool = True
) -> list[Prepared]:
    """Prepare every node that could hold a model for it; what is there already takes a second.

    Args:
        session: the file.
        cluster: is ready.
        models: names in the file.
        progress: is told what goes on, by node and model.
        weights: also fetch the models' files.

    Raises:
        NotPreparedError: it failed on some node; with every cause.
        DeploymentError: no node could hold one of the models.
        ClusterError: the cluster can't be asked.
    """
    configs = {name: session.checked.config.models[name] for name in models}
    with ServeApi.of(cluster) as api:
        nodes = {node.id: node for node in api.nodes() if node.state == "alive"}
    placed = _placed(configs, nodes.values())
    code = code_for(session, configs)
    specs = _specs(session, configs, code)
    told = {node: {"models": [specs[name] for name in names], "weights": weights} for node, names in placed.items()}
    hearing = _Hearing(nodes, placed, progress)
    job = NodeJob(cluster=cluster, code=code, module=MODULE, nodes=told, progress=progress)
    for node, words in job.run(hearing.hear).items():
        hearing.lose(node, words)
    found = hearing.result(weights=weights)
    if any(one.state == "failed" for one in found):
        raise NotPreparedError(found)
    return found


def preparation(session: Session) -> Preparation:
    """What a backend that prepares nodes before there are any has to know of the file.

    Raises:
        PluginError: the code of a plugin can't travel.
    """
    models = session.checked.config.models
    built = {name: model for name, model in models.items() if model.environment == "auto" and model.image is None}
    code = code_for(session, built)
    return Preparation(models=list(_specs(session, built, code).values()), code=code.content, digest=code.digest)


def _specs(session: Session, models: Mapping[str, ModelConfig], code: Bundle) -> dict[str, Json]:
    """Each model as the nodes get it."""
    packages = session.checked.config.packages
    return {
        name: model_spec(session.name, name, model, code.versions, packages=packages).to_args()
        for name, model in models.items()
    }


def _placed(models: Mapping[str, ModelConfig], nodes: Collection[Node]) -> dict[str, list[str]]:
    """The models that each node could hold, by its id.

    Raises:
        DeploymentError: no node could hold one of them.
    """
    homeless = [name for name, model in models.items() if not any(could_hold(node, model) for node in nodes)]
    if homeless:
        raise DeploymentError(
            f"no node of the cluster could hold {', '.join(homeless)}: there is nothing to prepare",
            cure="rayllm plan tells what they need and what there is",
            topic="room",
        )
    placed = {node.id: [name for name, model in models.items() if could_hold(node, model)] for node in nodes}
    return {node: names for node, names in placed.items() if names}


class _Hearing:
    """What the nodes have told so far."""

    def __init__(self, nodes: Mapping[str, Node], placed: Mapping[str, list[str]], progress: Progress) -> None:
        self._progress = progress
        self._several = len(placed) > 1
        self._found = {
            (node, name): Prepared(model=name, node=node, address=nodes[node].address)
            for node, names in placed.items()
            for name in names
        }

    def hear(self, node: str, line: Line) -> None:
        """Take one line of a node's."""
        key = (node, str(line["model"]))
        one, step = self._found[key], str(line["step"])
        if "detail" in line:
            self._tell(one, step, str(line["detail"]))
        elif "error" in line:
            self._found[key] = replace(one, **line["error"])
            self._tell(one, step, f"failed: {line['error']['message']}")
        elif step == "environment":
            self._found[key] = replace(one, environment=line["done"], version=line["version"], free=line["free"])
            self._tell(one, step, f"{line['done']} · {line['free']} free", done=True)
        else:
            self._found[key] = replace(one, weights=line["done"], size=line["size"], free=line["free"])
            self._tell(one, step, f"{line['size']} · {line['free']} free", done=True)

    def lose(self, node: str, words: str) -> None:
        """It did not get to its end."""
        for key, one in self._found.items():
            if key[0] == node and not one.message and not self._is_done(one, weights=True):
                self._found[key] = replace(one, message="the preparation broke off", cause=words, cure="run it again")

    def result(self, *, weights: bool) -> list[Prepared]:
        """All of it, in the order of the nodes."""
        return [
            replace(one, state="ready") if self._is_done(one, weights=weights) and not one.message else one
            for one in self._found.values()
        ]

    @staticmethod
    def _is_done(one: Prepared, *, weights: bool) -> bool:
        return bool(one.weights if weights else one.environment)

    def _tell(self, one: Prepared, step: str, detail: str, *, done: bool = False) -> None:
        where = f"{_where(one)} " if self._several else ""
        self._progress(f"{where}{one.model} {step}", detail, done=done)


def _where(one: Prepared) -> str:
    """A node as people tell it from others: two may share an address."""
    return f"{one.address} ({one.node[:6]})"


def _error(one: Prepared) -> DeploymentError:
    facts: dict[str, Any] = {name: asdict(one)[name] or None for name in ("cause", "cure", "topic")}
    return DeploymentError(one.message or "nothing was heard of it", **facts)
