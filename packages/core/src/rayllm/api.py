"""RayLLM from Python: the same things as the command line, which is a thin layer on this."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayllm.errors import InputError

if TYPE_CHECKING:
    import openai

    from rayllm.backends import Progress
    from rayllm.config.schema import DeploymentConfig
    from rayllm.deployment.plan import Plan
    from rayllm.deployment.session import Session
    from rayllm.deployment.status import Status
    from rayllm.plugins import Plugins


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
    ) -> RayLLM:
        """Read and check a file against the installed plugins; nothing is started or asked.

        Args:
            path: the YAML file.
            environ: where `${env:NAME}` is looked up; by default this process's environment.
            plugins: what is installed; by default it is discovered.

        Raises:
            InputError: there is no such file, or something is wrong in it: all mistakes at once, with their places.
        """
        from rayllm.config import load
        from rayllm.deployment.session import Session
        from rayllm.plugins import Plugins

        found = plugins if plugins is not None else Plugins.discover()
        return cls(Session(load(Path(path), found, os.environ if environ is None else environ), found))

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
        from rayllm.deployment.plan import Plan
        from rayllm.deployment.proposal import propose

        cluster = self.session.find()
        proposal = propose(self.session, cluster)
        unsure = f"the cluster is {cluster.state}: {cluster.reason}" if cluster and cluster.state != "ready" else ""
        return Plan(name=self.name, changes=proposal.changes, misfits=proposal.misfits, unsure=unsure)

    def up(self, progress: Progress = silent) -> Status:
        """Bring up the cluster, the models and the endpoint, and wait until all are ready.

        What is as the file says stays untouched; what a change restarts or removes is not asked about: see `plan`.

        Args:
            progress: is told what goes on, as `progress(step, detail, done=...)`.

        Raises:
            ClusterError: the cluster can't be made, or somebody else is changing the deployment.
            DeploymentError: it was taken, but a part did not come up; what did keeps serving.
        """
        from rayllm.deployment.apply import up

        return up(self.session, progress)

    def status(self) -> Status:
        """What runs now: models with their replicas, the gateway and the nodes.

        Raises:
            ClusterError: the cluster is not there, or not ready.
        """
        from rayllm.deployment.status import look

        return look(self.session)

    def logs(self, model: str, *, lines: int = 200, follow: bool = False) -> Iterator[str]:
        """The log of a model's engine in pieces of text: the newest replica's, or that of the last one that failed.

        Args:
            model: its name in the file.
            lines: how many of the last lines; -1 for all.
            follow: go on as lines are added, until the iterator is closed.

        Raises:
            InputError: the file has no such model.
            ClusterError: the cluster is not ready, or no engine has started yet.
        """
        from rayllm.deployment.logs import read_log

        return read_log(self.session, model, lines=lines, follow=follow)

    def openai(self, **options: Any) -> openai.OpenAI:
        """A client of the endpoint, from the `openai` package.

        Args:
            options: passed on to `openai.OpenAI`; `api_key` is not needed while the endpoint asks for none.

        Raises:
            ClusterError: the cluster is not there, or not ready.
            InputError: the `openai` package is not installed.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise InputError("the `openai` package is not installed", cure="pip install openai") from error
        return OpenAI(**self._endpoint() | options)

    def down(self, progress: Progress = silent) -> bool:
        """Stop the models and the endpoint, and remove the cluster if RayLLM made it; False if there was nothing.

        Args:
            progress: is told what goes on.

        Raises:
            ClusterError: the cluster is not ready to be told, or somebody deploys again what was removed.
        """
        from rayllm.deployment.down import down

        return down(self.session, progress)

    def _endpoint(self) -> dict[str, Any]:
        """What an OpenAI client is made with."""
        return {"base_url": f"{self.session.find_ready().gateway_url}/v1", "api_key": "none"}
