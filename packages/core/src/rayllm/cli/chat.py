"""`rayllm chat`: talk to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.completion import complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption

if TYPE_CHECKING:
    from rayllm.cli.conversation import Conversation
    from rayllm.cli.output import Output

PROMPT = ">>> "
HELP = """\
  /clear   forget the conversation; the system prompt stays
  /bye     end, as Ctrl-D does
  Ctrl-C   cut the answer; at the prompt: end"""


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The model's name in the file; not needed if it is the only one.", autocompletion=complete_model
        ),
    ] = None,
    file: FileOption = DEFAULT_FILE,
    *,
    system: Annotated[str | None, typer.Option("--system", help="What the model is told before all else.")] = None,
    once: Annotated[str | None, typer.Option("--once", help="Ask this, print the answer, and end.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Tokens of each answer at most.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, help="0 for the likeliest answer; else more varied.")
    ] = None,
) -> None:
    """Talk to a model through the endpoint; answers come as they are made.

    It remembers the conversation until it ends. A question from a pipe is answered once, as with --once; only the
    answer goes to stdout then. At the prompt, /? lists what else can be said.

    Examples:
      rayllm chat smollm2
      rayllm chat smollm2 --system "Answer in French."
      rayllm chat smollm2 --once "What is Ray?" --max-tokens 50
      cat notes.txt | rayllm chat smollm2 --system "Summarize this."
    """
    import io
    import sys

    from rayllm.cli.conversation import Conversation
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.deployment.chat import only_model
    from rayllm.deployment.names import require_name
    from rayllm.errors import InputError

    output = Output()
    llm = open_file(file, output)
    name = model or only_model(llm.session)
    require_name(llm.session, name)
    talk = Conversation(llm, name, output, system=system, max_tokens=max_tokens, temperature=temperature)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is no text is for the model to make sense of
    question = sys.stdin.read() if once is None and not sys.stdin.isatty() else once
    if question is None:
        _talk(talk, output)
    elif question.strip():
        talk.ask(question)
    else:
        raise InputError("there is no question", cure='ask one: --once "…", or through a pipe')


def _talk(talk: Conversation, output: Output) -> None:
    """Ask and answer until Ctrl-C or Ctrl-D at the prompt."""
    import contextlib

    from rayllm.errors import RayllmError

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  input() edits its line and remembers the ones before

    output.note(f"{talk.model} · /? for help, Ctrl-D to end", "dim")
    while (line := _read(output)) is not None:
        match line.strip():
            case "":
                pass
            case "/bye" | "/exit" | "/quit":
                return
            case "/clear":
                talk.clear()
                output.note("The conversation is forgotten.", "dim")
            case text if text.startswith("/") and " " not in text:
                output.note(HELP, "dim")
            case text:
                try:
                    talk.ask(text)
                except KeyboardInterrupt:
                    output.note("\n(cut)", "dim")
                except RayllmError as problem:
                    output.note(str(problem), "bad")


def _read(output: Output) -> str | None:
    """A line from the person; None at the end."""
    try:
        return input(PROMPT if output.stdout.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        output.note("")
        return None
