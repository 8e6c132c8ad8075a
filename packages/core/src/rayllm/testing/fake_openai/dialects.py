"""What a generated text looks like: OpenAI's completions, chats and responses, Anthropic's messages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, Protocol

Event = dict[str, Any] | str


class Dialect(Protocol):
    """One request's answer, whole or as a stream of events."""

    def whole(self, text: str, tokens: int) -> dict[str, Any]:
        """The answer in one piece."""

    def opening(self) -> Iterator[Event]:
        """Events before the first token."""

    def part(self, text: str, tokens: int) -> Event:
        """The event of one token, the `tokens`th."""

    def closing(self, text: str, tokens: int) -> Iterator[Event]:
        """Events behind the last token."""


class Completion:
    """OpenAI's completion, a chat's or a plain one's."""

    def __init__(self, model: str, body: dict[str, Any], prompt: int, finish: str, *, chat: bool) -> None:
        self._chat = chat
        self._prompt = prompt
        self._finish = finish
        self._options: dict[str, Any] = body.get("stream_options") or {}
        kind = "chat.completion" if chat else "text_completion"
        identity = {"id": ("chatcmpl-" if chat else "cmpl-") + os.urandom(8).hex()}
        self._whole = {**identity, "object": kind, "created": int(time.time()), "model": model}
        self._chunk = {**self._whole, "object": "chat.completion.chunk" if chat else kind}

    def whole(self, text: str, tokens: int) -> dict[str, Any]:
        """The answer in one piece."""
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return {**self._whole, "choices": [self._choice(said, self._finish)], "usage": self._usage(tokens)}

    def opening(self) -> Iterator[Event]:
        """Nothing: the first token's event says who speaks."""
        return iter(())

    def part(self, text: str, tokens: int) -> Event:
        """One event of a stream."""
        usage = {"usage": self._usage(tokens)} if self._options.get("continuous_usage_stats") else {}
        return {**self._chunk, "choices": [self._choice(self._delta(text, first=tokens == 1), None)], **usage}

    def closing(self, text: str, tokens: int) -> Iterator[Event]:
        """Why it ended, the usage if that was asked for, and the mark of the end."""
        del text
        yield {**self._chunk, "choices": [self._choice(self._delta("", first=False), self._finish)]}
        if self._options.get("include_usage"):
            yield {**self._chunk, "choices": [], "usage": self._usage(tokens)}
        yield "[DONE]"

    def _delta(self, text: str, *, first: bool) -> dict[str, Any]:
        if not self._chat:
            return {"text": text}
        return {"delta": {**({"role": "assistant"} if first else {}), "content": text}}

    def _choice(self, said: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish}

    def _usage(self, tokens: int) -> dict[str, Any]:
        total = {"prompt_tokens": self._prompt, "completion_tokens": tokens, "total_tokens": self._prompt + tokens}
        return {**total, "prompt_tokens_details": {"cached_tokens": 0}}


class Message:
    """Anthropic's message."""

    def __init__(self, model: str, prompt: int, finish: str) -> None:
        self._prompt = prompt
        self._reason = "max_tokens" if finish == "length" else "end_turn"
        self._head = {"id": f"msg_{os.urandom(8).hex()}", "type": "message", "role": "assistant", "model": model}

    def whole(self, text: str, tokens: int) -> dict[str, Any]:
        """The answer in one piece."""
        ended = {"stop_reason": self._reason, "stop_sequence": None, "usage": self._usage(tokens)}
        return {**self._head, "content": [{"type": "text", "text": text}], **ended}

    def opening(self) -> Iterator[Event]:
        """The message, empty as yet, and its only block."""
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": self._usage(0)}
        yield {"type": "message_start", "message": {**self._head, **empty}}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

    def part(self, text: str, tokens: int) -> Event:
        """A piece of the block."""
        del tokens
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    def closing(self, text: str, tokens: int) -> Iterator[Event]:
        """The end of the block, of the message, and the usage."""
        del text
        yield {"type": "content_block_stop", "index": 0}
        delta = {"stop_reason": self._reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": self._usage(tokens)}
        yield {"type": "message_stop"}

    def _usage(self, tokens: int) -> dict[str, int]:
        return {"input_tokens": self._prompt, "output_tokens": tokens}


class Response:
    """OpenAI's response."""

    def __init__(self, model: str, prompt: int) -> None:
        self._prompt = prompt
        self._item = f"msg_{os.urandom(8).hex()}"
        identity = {"id": f"resp_{os.urandom(8).hex()}", "object": "response", "created_at": int(time.time())}
        fixed = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
        self._head: dict[str, Any] = {**identity, "model": model, **fixed}
        self._count = 0

    def whole(self, text: str, tokens: int) -> dict[str, Any]:
        """The answer in one piece."""
        usage = {"input_tokens": self._prompt, "output_tokens": tokens, "total_tokens": self._prompt + tokens}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        return {**self._head, "status": "completed", "output": [self._said(text)], "usage": {**usage, **details}}

    def opening(self) -> Iterator[Event]:
        """The response, in progress."""
        yield self._event("response.created", response={**self._head, "status": "in_progress", "output": []})

    def part(self, text: str, tokens: int) -> Event:
        """A piece of the text."""
        del tokens
        where = {"item_id": self._item, "output_index": 0, "content_index": 0}
        return self._event("response.output_text.delta", **where, delta=text, logprobs=[])

    def closing(self, text: str, tokens: int) -> Iterator[Event]:
        """The whole response once more, with the usage."""
        yield self._event("response.completed", response=self.whole(text, tokens))

    def _said(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"id": self._item, "type": "message", "role": "assistant", "status": "completed", "content": content}

    def _event(self, kind: str, **more: Any) -> Event:
        self._count += 1
        return {"type": kind, "sequence_number": self._count - 1, **more}
