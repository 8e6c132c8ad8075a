"""The project: found by its id or exact name, or made, blank or from git."""

from __future__ import annotations

import re

from rayllm import ClusterError, Progress
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.api.records import NewProject, Project
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.steps.waiting import until

CLONE_S = 900.0
"""Seconds that a clone may take."""
FILES_S = 120.0
"""Seconds that a clone's files may come later than the project says `success`."""
SHOWN_S = 30.0
"""Seconds that a project that was made may be missing in the list."""
MADE_BY = "made by RayLLM"
_ID = re.compile(r"[a-z0-9]{4}(-[a-z0-9]{4}){3}")
_CLONE_CURE = (
    "are cluster.options.git.url and ref right, and may this user read it (a private repository needs a token in the "
    "url, or an SSH key of the user's)? Delete the project in the workspace, then: rayllm up"
)


def name_of(options: CaiOptions, cluster: str) -> str:
    """What the project is called where none is given by its id."""
    return options.project or cluster


def find_project(client: CaiClient, options: CaiOptions, cluster: str) -> Project | None:
    """The project that the options name; None if there is none.

    Raises:
        ClusterError: several have that name.
    """
    if not options.project and client.workspace.project:
        return client.projects.get(client.workspace.project)
    name = name_of(options, cluster)
    if _ID.fullmatch(name):
        try:
            return client.projects.get(name)
        except NotFoundError:
            pass  # then it is a name that looks like an id
    return _only(client.projects.named(name), name, by="cluster.options.project" if options.project else "CML_PROJECT")


def ensure_project(client: CaiClient, options: CaiOptions, cluster: str, progress: Progress) -> Project:
    """The project, made if there is none, once its files are there.

    Raises:
        ClusterError: several have that name, or its clone fails or takes too long.
    """
    project = find_project(client, options, cluster)
    if project is None:
        progress("project", f"making {name_of(options, cluster)}")
        project = _make(client, options, name_of(options, cluster))
    project = _created(client, project, progress)
    if options.git:
        _await_files(client, project, progress)
    return project


def _make(client: CaiClient, options: CaiOptions, name: str) -> Project:
    """Make it. Where two do so at once, both take the older one, and the newer goes with who made it."""
    git = options.git
    told = {"template": "git", "git_url": git.url, "git_ref": git.ref} if git else {}
    made = client.projects.create(NewProject(name=name, description=MADE_BY, **told))
    same = until(
        lambda: _with(client.projects.named(name), made.id),
        SHOWN_S,
        lambda: ClusterError(f"the project {name} was made, and does not appear among the projects", cure="rayllm up"),
    )
    oldest = min(same, key=lambda one: (str(one.created_at), one.id))
    if oldest.id != made.id and oldest.created_at and made.created_at:
        client.projects.delete(made.id)
        return oldest
    return made


def _with(projects: list[Project], wanted: str) -> list[Project] | None:
    return projects if any(one.id == wanted for one in projects) else None


def _only(projects: list[Project], name: str, *, by: str) -> Project | None:
    if len(projects) > 1:
        raise ClusterError(
            f"{len(projects)} projects are called {name}",
            cause="\n".join(f"{one.id}, made {one.created_at:%Y-%m-%d}" for one in projects if one.created_at) or None,
            cure=f"name one by its id: {by}",
            topic="cai-project",
        )
    return projects[0] if projects else None


def _created(client: CaiClient, project: Project, progress: Progress) -> Project:
    def look() -> Project | None:
        nonlocal project
        if project.creation_status in {"creating", "unknown"}:
            progress("project", f"{project.name} is being made")
            project = client.projects.get(project.id)
        if project.creation_status in {"failure", "failed", "error"}:
            raise ClusterError(f"the project {project.name} could not be made", cure=_CLONE_CURE, topic="cai-project")
        return None if project.creation_status in {"creating", "unknown"} else project

    return until(
        look,
        CLONE_S,
        lambda: ClusterError(
            f"the project {project.name} is still being made after {CLONE_S:g} s", cure=_CLONE_CURE, topic="cai-project"
        ),
    )


def _await_files(client: CaiClient, project: Project, progress: Progress) -> None:
    def look() -> bool | None:
        there = any(file.path != ".rayllm" for file in client.files.folder(project.id))
        if not there:
            progress("project", f"waiting for the files of {project.name}")
        return there or None

    until(
        look,
        FILES_S,
        lambda: ClusterError(
            f"the project {project.name} has no files, {FILES_S:g} s after its clone",
            cure=_CLONE_CURE,
            topic="cai-project",
        ),
    )
