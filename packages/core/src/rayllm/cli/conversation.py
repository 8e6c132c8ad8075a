"""A conversation with one model, printed as it goes."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.cli.output import Output
    from rayllm.deployment.chat import ChatPart


@dataclass
class Conversation:
    """Remembers what was said; prints answers on stdout, and how quick they were on a terminal's stderr."""

    llm: RayLLM
    model: str
    output: Output
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    messages: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all but the system prompt."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def ask(self, question: str) -> None:
        """Ask and print the answer. One that is cut is remembered as far as it came; one that failed is not.

        Raises:
            ClusterError: nobody can answer, or the answer broke off.
            KeyboardInterrupt: Ctrl-C; the request has ended, in the engine too.
        """
        asked = [*self.messages, {"role": "user", "content": question}]
        pace = _Pace()
        parts = self.llm.chat(asked, self.model, max_tokens=self.max_tokens, temperature=self.temperature)
        said: list[str] = []
        try:
            with closing(parts):
                for part in parts:
                    pace.see(part)
                    self._show(part, first=not said)
                    said += [part.text] if part.text else []
        except KeyboardInterrupt:
            if said:
                self._remember(asked, said)
            raise
        self._remember(asked, said)
        self.output.say("")
        if self.output.stderr.isatty():
            self.output.note(pace.words(), "dim")

    def _remember(self, asked: list[dict[str, str]], said: list[str]) -> None:
        self.messages = [*asked, {"role": "assistant", "content": "".join(said)}]

    def _show(self, part: ChatPart, *, first: bool) -> None:
        """Reasoning is for a person who watches, never a part of the answer."""
        if part.reasoning and self.output.stdout.isatty():
            self.output.write(part.reasoning, "dim")
        if part.text:
            self.output.write(part.text.lstrip("\n") if first else part.text)


class _Pace:
    """How quick an answer is."""

    def __init__(self) -> None:
        self._asked = time.perf_counter()
        self._first = self._last = 0.0
        self._pieces = 0
        self._tokens: int | None = None
        self._finish = ""

    def see(self, part: ChatPart) -> None:
        """Another piece."""
        if part.text or part.reasoning:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._pieces += 1
        self._tokens = part.tokens or self._tokens
        self._finish = part.finish or self._finish

    def words(self) -> str:
        """`first token 182 ms · 38 tokens/s · 52 tokens`."""
        if not self._first:
            return "the answer is empty"
        tokens = self._tokens or self._pieces
        told = [f"first token {(self._first - self._asked) * 1000:.0f} ms"]
        if (took := self._last - self._first) > 0 and tokens > 1:
            told.append(f"{(tokens - 1) / took:.1f} tokens/s")
        told.append(f"{tokens} token{'' if tokens == 1 else 's'}")
        if self._finish == "length":
            told.append("cut at the most tokens allowed")
        return " · ".join(told)
