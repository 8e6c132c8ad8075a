"""RayLLM from Python: the same things as the command line, which is a thin layer on this."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayllm.errors import InputError

if TYPE_CHECKING:
    import openai

    from rayllm.backends import Progress
    from rayllm.config.schema import DeploymentConfig
    from rayllm.deployment.adapters import Adapters
    from rayllm.deployment.chat import ChatPart
    from rayllm.deployment.keys import Keys
    from rayllm.deployment.nodes import Nodes
    from rayllm.deployment.plan import Plan
    from rayllm.deployment.preparing import Prepared
    from rayllm.deployment.session import Session
    from rayllm.deployment.status import ModelStatus, Status
    from rayllm.plugins import Plugins
    from rayllm.sources import FetchProgress


def silent(step: str, detail: str, *, done: bool = False) -> None:
    """A `rayllm.Progress` that tells nobody."""


class RayLLM:
    """One deployment, as its file describes it.

    ```python
    llm = RayLLM.from_file("rayllm.yaml")
    llm.up()
    answer = llm.openai().chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "hi"}])
    llm.down()
    ```

    Nothing is kept between calls but the checked file: each asks the cluster anew. Use one object from one thread.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str] = "rayllm.yaml",
        *,
        environ: Mapping[str, str] | None = None,
        plugins: Plugins | None = None,
        report: FetchProgress | None = None,
    ) -> RayLLM:
        """Read and check a file against the installed plugins; nothing is started or asked.

        Args:
            path: the YAML file.
            environ: where `${env:NAME}` is looked up; by default this process's environment.
            plugins: what is installed; by default it is discovered.
            report: is told what takes long, and what can't be checked here.

        Raises:
            InputError: there is no such file, or something is wrong in it: all mistakes at once, with their places.
        """
        from rayllm.config import load
        from rayllm.deployment.session import Session
        from rayllm.plugins import Plugins

        found = plugins if plugins is not None else Plugins.discover()
        checked = load(Path(path), found, os.environ if environ is None else environ, report)
        return cls(Session(checked, found))

    @property
    def name(self) -> str:
        """The cluster's and the deployment's name."""
        return self.session.name

    @property
    def config(self) -> DeploymentConfig:
        """The file as types; frozen."""
        return self.session.checked.config

    def plan(self) -> Plan:
        """Compare the file with what runs; change nothing.

        Raises:
            ClusterError: the cluster can't be asked.
        """
        from rayllm.deployment.compare import compare

        return compare(self.session)

    def render(self) -> dict[str, Any]:
        """The Serve config that `up` hands to a cluster which serves nothing else yet; asks no cluster.

        It is what Ray Serve's REST API and KubeRay's `serveConfigV2` take. `up` also uploads the code packages that it
        names (`gcs://…`), and keeps what others have deployed.

        Raises:
            PluginError: the code of a plugin can't be packed.
        """
        from rayllm.deployment.proposal import render

        return render(self.session)

    def up(self, progress: Progress = silent, *, pull: bool = False) -> Status:
        """Bring up the cluster, the models and the endpoint, and wait until all are ready.

        What is as the file says stays untouched; what a change restarts or removes is not asked about: see `plan`.

        Args:
            progress: is told what goes on, as `progress(step, detail, done=...)`.
            pull: prepare the nodes for every model that starts or restarts, as `pull` does, before anything changes;
                else for those alone that hold GPUs.

        Raises:
            ClusterError: the cluster can't be made, or somebody else is changing the deployment.
            DeploymentError: it was taken, but a part did not come up; what did keeps serving.
        """
        from rayllm.deployment.apply import up

        return up(self.session, progress, pull=pull)

    def pull(
        self, models: Sequence[str] | None = None, progress: Progress = silent, *, weights: bool = True
    ) -> list[Prepared]:
        """Prepare the cluster's nodes: the models' environments and weights, so that a replica starts without a wait.

        The cluster is brought up if need be; nothing is deployed, and no GPU is held. What is there already is left as
        it is. Every node that could hold a model gets what it needs.

        Args:
            models: names in the file; all if left out.
            progress: is told what goes on.
            weights: False leaves the models' files out.

        Raises:
            InputError: the file has no such model.
            DeploymentError: a node could not be prepared, with every cause; what is ready stays so.
            ClusterError: the cluster can't be made or asked.
        """
        from rayllm.deployment.preparing import pull

        return pull(self.session, models, progress, weights=weights)

    def status(self) -> Status:
        """What runs now: models with their replicas, the gateway and the nodes.

        Raises:
            ClusterError: the cluster is not there, or not ready.
        """
        from rayllm.deployment.observing import look

        return look(self.session)

    def model_status(self, model: str) -> ModelStatus:
        """What one model does, why it is not ready (`cause`), and what to do about it (`cure`).

        Args:
            model: its name in the file, or that of one that runs and is no longer in the file.

        Raises:
            InputError: neither the file nor the cluster has such a model.
            ClusterError: the cluster is not there, or not ready; or the model is not deployed.
        """
        from rayllm.deployment.observing import model_of

        return model_of(self.session, self.status(), model)

    def scale(self, model: str, replicas: int, progress: Progress = silent) -> Status:
        """Set the number of a model's replicas, and wait until so many run; those that run are not restarted.

        The cluster is changed, the file is not: `plan` then shows the difference, and `up` sets it back to what the
        file says. The model of a range (`replicas: {min, max}`) has that fixed number until then. A replica that is
        too much finishes its requests first, `drain_s` seconds at most, after this has returned.

        Args:
            model: its name in the file; it has to be deployed.
            replicas: how many, from 1.
            progress: is told what goes on.

        Raises:
            InputError: the file has no such model, or `replicas` is less than 1.
            ClusterError: the cluster is not ready, the model is not deployed, or somebody else is changing it.
            DeploymentError: the nodes have no room for so many, or a new replica did not come up.
        """
        from rayllm.deployment.scale import scale

        return scale(self.session, model, replicas, progress)

    def logs(
        self,
        model: str,
        replica: str | None = None,
        *,
        lines: int | None = None,
        follow: bool = False,
        last_start: bool = False,
    ) -> Generator[str, None, None]:
        """What a model's engine wrote, in pieces of text: of the newest replica, or of the last one that failed.

        Args:
            model: its name in the file; `gateway` for the requests that went wrong there.
            replica: whose log: an id as `status` tells it, or its beginning; also one that failed.
            lines: how many of the last lines, -1 for all; by default 200, with `last_start` all.
            follow: go on as lines are added, until the iterator is closed.
            last_start: of the engine that started last, be it one that failed while others serve.

        Raises:
            InputError: the file has no such model, or the model no such replica.
            ClusterError: the cluster is not ready, or no engine has started yet.
        """
        from rayllm.deployment.logs import find_log, lines_of, read_log

        log = find_log(self.session, model, replica, last_start=last_start)
        return read_log(self.session, log, lines=lines_of(lines, last_start=last_start), follow=follow)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None = None,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Generator[ChatPart, None, None]:
        """Ask a model through the endpoint; its answer in pieces, as they come. Needs no other package.

        Args:
            messages: the conversation, as OpenAI's API takes it: `[{"role": "user", "content": "hi"}]`.
            model: its name in the file; not needed where the file has one alone.
            max_tokens: of the answer at most; the model's own limit if left out.
            temperature: 0 for the likeliest answer; the engine's default if left out.

        Closing the iterator ends the request, in the engine too.

        Raises:
            InputError: the file has no such model, or several where none is named; or there is no API key for it here.
            ClusterError: nobody can answer, the engine refuses the question, or the answer broke off.
        """
        from rayllm.deployment.chat import chat, question

        asked = question(self.session, messages, model, max_tokens, temperature)
        return chat(asked, self.session)

    def openai(self, **options: Any) -> openai.OpenAI:
        """A client of the endpoint, from the `openai` package.

        Args:
            options: passed on to `openai.OpenAI`. Without `api_key` it is `$RAYLLM_API_KEY`, else the file's first key.
                Where the platform's own ingress takes `Authorization`, that is filled in, too.

        Raises:
            ClusterError: the cluster is not there, or not ready.
            InputError: the `openai` package is not installed, or the endpoint wants a key and there is none here.
        """
        try:
            from openai import DefaultHttpxClient, OpenAI
        except ImportError as error:
            raise InputError("the `openai` package is not installed", cure="pip install openai") from error
        return OpenAI(**client_options(self.session, options, DefaultHttpxClient))

    @property
    def keys(self) -> Keys:
        """The endpoint's API keys: `llm.keys.add("alice")`, `list`, `rotate`, `revoke`, `usage`."""
        from rayllm.deployment.keys import Keys

        return Keys(self.session)

    @property
    def adapters(self) -> Adapters:
        """LoRA adapters of models that run: `llm.adapters.add("sql", "hf://org/sql-adapter")`, `remove`, `list`."""
        from rayllm.deployment.adapters import Adapters

        return Adapters(self.session)

    @property
    def nodes(self) -> Nodes:
        """The cluster's machines: `llm.nodes.list()`, `llm.nodes.scale("gpu", 2)`, `llm.nodes.logs(name)`."""
        from rayllm.deployment.nodes import Nodes

        return Nodes(self.session)

    def down(self, progress: Progress = silent) -> bool:
        """Stop the models and the endpoint, and remove the cluster if RayLLM made it; False if there was nothing.

        Args:
            progress: is told what goes on.

        Raises:
            ClusterError: the cluster is not ready to be told, or somebody deploys again what was removed.
        """
        from rayllm.deployment.down import down

        return down(self.session, progress)


def client_options(session: Session, options: Mapping[str, Any], http_client: Callable[..., Any]) -> dict[str, Any]:
    """What a client from the `openai` package is made with: `options`, and what they leave open.

    `http_client` makes the client below it, where the endpoint has a certificate of its own.

    Raises:
        ClusterError: the cluster is not there, or not ready.
        InputError: the endpoint wants an API key, and there is none here.
    """
    from rayllm.cluster.connection import trusting
    from rayllm.deployment.file_keys import headers_of, key_headers

    shown = headers_of(options["api_key"]) if isinstance(options.get("api_key"), str) else key_headers(session.checked)
    cluster = session.find_ready()
    headers = {**cluster.headers, **({"x-api-key": shown["x-api-key"]} if shown else {})}
    trust = {"http_client": http_client(verify=trusting(cluster.certificate))} if cluster.certificate else {}
    key = {"api_key": shown.get("x-api-key", "none"), **options}["api_key"]
    if ingress := headers.pop("authorization", ""):
        # The client shows its key as `Authorization: Bearer KEY`, and takes another value by that spelling alone.
        key, headers["Authorization"] = ingress.removeprefix("Bearer "), ingress
    return {
        "base_url": f"{cluster.gateway_url}/v1",
        **trust,
        **options,
        "api_key": key,
        "default_headers": {**headers, **(options.get("default_headers") or {})},
    }
