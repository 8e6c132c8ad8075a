"""`rayllm keys`: the endpoint's API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.keys import NewKey

NameArgument = Annotated[str, typer.Argument(help="The key's name.")]
_LIMITS = {
    "requests_per_minute": "requests/min",
    "concurrent_requests": "at once",
    "tokens_per_minute": "tokens/min",
    "tokens_per_day": "tokens/day",
}


def keys_new() -> None:
    """Print a fresh key, for where `keys` under `gateway` is read; nothing is asked or stored.

    Examples:
      export RAYLLM_API_KEYS=$(rayllm keys new)
      export RAYLLM_API_KEYS="alice=$(rayllm keys new),bob=$(rayllm keys new)"
    """
    from rayllm.cli.output import Output
    from rayllm.deployment.keys import new_key

    Output().say(new_key())


def keys_add(
    name: NameArgument,
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
    *,
    models: Annotated[
        str | None, typer.Option("--models", metavar="A,B", help="Models and aliases it may use; all if left out.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="When it ends: in 30m, 12h, 90d.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", min=1, help="Requests in any sliding minute.")
    ] = None,
    concurrent_requests: Annotated[
        int | None, typer.Option("--concurrent-requests", min=1, help="Requests in flight.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option("--tokens-per-minute", min=1, help="Tokens of prompts and answers in a minute.")
    ] = None,
    tokens_per_day: Annotated[
        int | None, typer.Option("--tokens-per-day", min=1, help="The same for a day (UTC).")
    ] = None,
) -> None:
    """Make an API key and print it, this once: only its SHA-256 is kept.

    It is good when the command ends. Limits that are left out don't hold. stdout has the key alone.

    Examples:
      rayllm keys add alice
      rayllm keys add ci --models smollm2 --expires 30d --requests-per-minute 60
      KEY=$(rayllm keys add batch --tokens-per-day 1000000)
    """
    from rayllm.cli.durations import seconds
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    expires_s = None if expires is None else seconds(expires)
    made = open_file(file, output).keys.add(
        name,
        models=None if models is None else [model.strip() for model in models.split(",") if model.strip()],
        expires_s=expires_s,
        requests_per_minute=requests_per_minute,
        concurrent_requests=concurrent_requests,
        tokens_per_minute=tokens_per_minute,
        tokens_per_day=tokens_per_day,
    )
    _show(made, output, json=json)


def keys_list(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """List the keys by name, with their limits; revoked ones too. The keys themselves nobody knows.

    Examples:
      rayllm keys list
      rayllm keys list --json
    """
    from dataclasses import asdict

    from rayllm.cli.durations import moment
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    found = open_file(file, output).keys.list()
    if json:
        output.print_json([asdict(key) for key in found])
    elif not found:
        output.say("There are none. Make one: rayllm keys add NAME")
    else:
        rows = []
        for key in found:
            limits = [f"{getattr(key, name)} {word}" for name, word in _LIMITS.items() if getattr(key, name)]
            models = "all" if key.models is None else ",".join(key.models) or "none"
            origin = "file" if key.from_file else "added"
            row = (key.name, key.state, origin, moment(key.created), moment(key.expires), models, ", ".join(limits))
            rows.append(tuple(cell or "-" for cell in row))
        output.table(("NAME", "STATE", "FROM", "CREATED", "EXPIRES", "MODELS", "LIMITS"), rows)


def keys_rotate(
    name: NameArgument,
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
    *,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="How long the old one is good, too: 30m, 12h, 7d.")
    ] = "0s",
) -> None:
    """Make another key under the same name, with the same limits, and print it, this once.

    The old one ends at once, or after --grace. A key of the file is changed there instead, then: rayllm up.

    Examples:
      rayllm keys rotate alice
      rayllm keys rotate alice --grace 1h
    """
    from rayllm.cli.durations import seconds
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output, grace_s = Output(), seconds(grace)
    _show(open_file(file, output).keys.rotate(name, grace_s=grace_s), output, json=json)


def keys_revoke(name: NameArgument, file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Refuse a key from now on; requests in flight are finished.

    A key of the file stays revoked until the file has another one in its place.

    Examples:
      rayllm keys revoke alice
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    revoked = open_file(file, output).keys.revoke(name)
    if json:
        output.print_json(asdict(revoked))
    else:
        output.say(f"{name} is revoked.")


def keys_usage(
    name: Annotated[str | None, typer.Argument(help="One key's; all if left out.")] = None,
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
    *,
    days: Annotated[int, typer.Option("--days", min=1, help="Today (UTC) and the days before.")] = 30,
) -> None:
    """Show requests and tokens by key and model.

    Examples:
      rayllm keys usage
      rayllm keys usage alice --days 7
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    rows = open_file(file, output).keys.usage(name, days=days)
    if json:
        output.print_json([asdict(row) for row in rows])
    elif not rows:
        output.say("Nothing was used.")
    else:
        numbers = ("requests", "errors", "prompt_tokens", "completion_tokens")
        cells = [(row.key or "-", row.model or "-", *(str(getattr(row, each)) for each in numbers)) for row in rows]
        output.table(("KEY", "MODEL", "REQUESTS", "ERRORS", "PROMPT", "COMPLETION"), cells)


def _show(made: NewKey, output: Output, *, json: bool) -> None:
    from dataclasses import asdict

    if json:
        output.print_json(asdict(made))
        return
    output.note(f"The key of {made.name}, shown this once:", "dim")
    output.say(made.key)
