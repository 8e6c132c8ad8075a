"""What `rayllm doctor` asks of the workspace: its address, the keys, the project. Three requests; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm import Check, RayllmError
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.steps.keys import ingress_of, require_keys
from rayllm_backend_cai.steps.project import find_project
from rayllm_backend_cai.workspace import Workspace


def checks(options: CaiOptions) -> Iterator[Check]:
    """The first thing that is wrong hides those behind it."""
    try:
        workspace = workspace_of(options)
        with CaiClient(workspace) as client:
            user = require_keys(client, ingress_of(options, workspace))
            yield Check(name="workspace", detail=f"{workspace.url} takes the key of {user}")
            yield _project(client, options)
    except RayllmError as error:
        detail = "; ".join(filter(None, (error.message, error.cause)))
        yield Check(name="workspace", state="fail", detail=detail, cure=error.cure or "")


def workspace_of(options: CaiOptions) -> Workspace:
    """The workspace of these options.

    Raises:
        InputError: none is named, or there is no key.
    """
    return Workspace.find(host=options.host, key=options.key, ca=options.ca)


def _project(client: CaiClient, options: CaiOptions) -> Check:
    if not (options.project or client.workspace.project):
        return Check(name="project", detail="the deployment's name; made by rayllm up if there is none")
    found = find_project(client, options, options.project)
    if found is None:
        return Check(name="project", detail=f"there is none called {options.project} yet; rayllm up makes it")
    return Check(name="project", detail=f"{found.name} ({found.id})")
