"""`rayllm logs`: what did the engine say?"""

from __future__ import annotations

from typing import Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption


def logs(
    model: Annotated[str, typer.Argument(help="The model's name in the file.")],
    file: FileOption = DEFAULT_FILE,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on as lines are added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines; -1 for all.")] = 200,
) -> None:
    """Print the log of a model's engine: the newest replica's, or that of the last one that failed.

    Examples:
      rayllm logs smollm2
      rayllm logs smollm2 --follow
    """
    from rayllm.cli.output import Output
    from rayllm.cli.session import open_session
    from rayllm.cluster.admin_api import AdminApi
    from rayllm.cluster.serve_api import ServeApi
    from rayllm.deployment.status import log_of, observe
    from rayllm.errors import ClusterError, InputError
    from rayllm.names import did_you_mean

    output = Output()
    session = open_session(file, output)
    models = session.checked.config.models
    if model not in models:
        raise InputError(f"{file} has no model {model!r}{did_you_mean(model, models)}")
    cluster = session.find_ready()
    admin = AdminApi(cluster)
    with ServeApi.of(cluster) as api:
        status = observe(cluster, api, admin)
        admin.close()
        place = log_of(status.models[model]) if model in status.models else None
        if place is None:
            raise ClusterError(f"no engine of {model} has started yet", cure="see what it waits for: rayllm status")
        text = api.follow_log(*place, lines=lines) if follow else [api.log(*place, lines=lines)]
        for part in text:
            output.stdout.write(part)
            output.stdout.flush()
