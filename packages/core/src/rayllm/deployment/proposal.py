"""What `up` is about to do: the plan with everything it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rayllm.backends import Cluster, Node
from rayllm.cluster.bundle import Bundle, build
from rayllm.cluster.serve_api import ServeApi
from rayllm.config.rules import SCHEME
from rayllm.config.schema import ModelConfig
from rayllm.deployment.adapter_settings import routed, wanted_settings
from rayllm.deployment.fit import misfits
from rayllm.deployment.memory import MemoryEstimate, estimates
from rayllm.deployment.plan import Change, plan
from rayllm.deployment.serve_config import Json, deployed_apps, gateway_app, merge, model_app
from rayllm.deployment.session import Session
from rayllm.deployment.watch import GATEWAY
from rayllm.plugins import Plugins
from rayllm.serving.spec import GATEWAY_APP, app_name


@dataclass(frozen=True, slots=True)
class Proposal:
    """The file against the cluster."""

    bundles: tuple[Bundle, ...]
    """The code of all applications; each has core and its own plugins, so that a change of one restarts no other."""
    changes: list[Change]
    apps: dict[str, Json]
    """What Serve is to run, by model name."""
    nodes: list[Node]
    misfits: list[str]
    """What can't be placed on the nodes there are."""
    memory: list[MemoryEstimate]

    @property
    def refusals(self) -> list[str]:
        """Models that can't start on any of the nodes, whatever else there is room for."""
        return [f"{one.model}: {one.refusal}" for one in self.memory if one.refusal]


def propose(session: Session, cluster: Cluster | None) -> Proposal:
    """Compare the file with `cluster` (None: nothing is there yet).

    Raises:
        PluginError: the code of a plugin can't travel.
    """
    code = code_of(session)
    bundles = tuple({bundle.name: bundle for bundle in code.values()}.values())
    if cluster is None or cluster.state != "ready":
        apps = _apps(session, code, 0, {"applications": {}})
        memory = estimates(session, [], {})
        return Proposal(bundles, _changes(session, apps, {}), apps, [], [], memory)
    with ServeApi.of(cluster) as api:
        details, nodes, hardware = api.details(), api.nodes(), api.hardware()
    port = (details.get("http_options") or {}).get("port", cluster.serve_port)
    apps = _apps(session, code, port, details)
    deployed = deployed_apps(details, session.name)
    alive = [hardware[node.id] for node in nodes if node.state == "alive" and node.id in hardware]
    # Where nodes come on demand, those that are there say nothing of those that will be.
    memory = estimates(session, [] if cluster.elastic else alive, deployed)
    problems = misfits(session.checked.config.models, nodes)
    return Proposal(bundles, _changes(session, apps, deployed), apps, nodes, problems, memory)


def _changes(session: Session, apps: dict[str, Json], deployed: dict[str, Json]) -> list[Change]:
    """What differs, with the gateway's address as its clients will have it."""
    changes, url = plan(apps, deployed), session.endpoint()
    if url is None:
        return changes
    return [replace(one, summary=url) if one.name == GATEWAY and one.summary else one for one in changes]


def render(session: Session) -> Json:
    """Serve's whole config for a cluster that is not there yet."""
    nothing: Json = {"applications": {}}
    port = Cluster(name=session.name, dashboard_url="", gateway_url="").serve_port
    apps = _apps(session, code_of(session), port, nothing)
    return merge(nothing, session.name, list(apps.values()), port)


def _apps(session: Session, code: dict[str, Bundle], serve_port: int, details: Json) -> dict[str, Json]:
    config = session.checked.config
    wanted = wanted_settings(session.checked, deployed_apps(details, config.name))
    apps = {
        name: model_app(
            config.name,
            name,
            model,
            code[name],
            _attempt(details, config.name, name),
            packages=config.packages,
            settings=wanted.get(name),
        )
        for name, model in config.models.items()
    }
    attempt = _attempt(details, config.name, GATEWAY_APP)
    adapters = {name: routed(session.checked.adapters[name], name, has) for name, has in wanted.items()}
    gateway = gateway_app(
        session.checked, serve_port, code[GATEWAY_APP], attempt, list(code.values()), adapters=adapters
    )
    return {**apps, GATEWAY_APP: gateway}


def _attempt(details: Json, deployment: str, model: str) -> int:
    """One more than before for a failed application: Serve takes an equal config for nothing to do."""
    app = details["applications"].get(app_name(deployment, model))
    if not app or not app.get("deployed_app_config"):
        return 0
    before = int((app["deployed_app_config"].get("args") or {}).get("attempt", 0))
    return before + 1 if _is_stuck(app) else before


def _is_stuck(app: Json) -> bool:
    """True if nothing of it runs; where some of its replicas do, Serve replaces the others without our help."""
    replicas = [replica for serve in app["deployments"].values() for replica in serve.get("replicas", [])]
    runs = any(replica["state"] == "RUNNING" for replica in replicas)
    return bool(app["status"] == "DEPLOY_FAILED" or (app["status"] == "UNHEALTHY" and not runs))


def code_of(session: Session) -> dict[str, Bundle]:
    """The code of each application, by model name.

    Raises:
        PluginError: that of a plugin can't travel.
    """
    wanted = {name: _distributions(session.plugins, model) for name, model in session.checked.config.models.items()}
    wanted[GATEWAY_APP] = frozenset()
    built = {distributions: build(distributions) for distributions in set(wanted.values())}
    return {name: built[distributions] for name, distributions in wanted.items()}


def code_for(session: Session, models: Iterable[str]) -> Bundle:
    """The code of several models in one package.

    Raises:
        PluginError: that of a plugin can't travel.
    """
    configs = session.checked.config.models
    return build(frozenset().union(*(_distributions(session.plugins, configs[name]) for name in models)))


def _distributions(plugins: Plugins, model: ModelConfig) -> frozenset[str]:
    """The distributions of the plugins that a model's nodes need."""
    infos = [plugins.origin_of("engine", model.engine)]
    # A path is for core's own source, which is there: to look for its plugin would import every other one.
    schemes = [uri[1] for source in (model.source, *model.adapters.values()) if (uri := SCHEME.match(source))]
    infos += [plugins.origin_of("source", scheme) for scheme in schemes if scheme in plugins.sources]
    return frozenset(info.distribution for info in infos if info.distribution)
