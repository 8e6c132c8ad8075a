"""Answers that are computed at once: embeddings, scores, tokens, transcripts."""

from __future__ import annotations

import hashlib
from typing import Any

from rayllm.testing.fake_openai.prompts import prompt_tokens, texts_of
from rayllm.testing.fake_openai.wire import Failure


def embeddings(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Eight numbers from 0 to 1 for each input: the same text, the same numbers."""
    texts = texts_of(body, "input")
    data = [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
    return {"object": "list", "model": model, "data": data, "usage": _usage(texts)}


def scores(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """How well each text goes with the query: the part of its words that are in it."""
    pairs = [(query, text) for query in texts_of(body, "text_1") for text in texts_of(body, "text_2")]
    data = [{"object": "score", "index": i, "score": _score(*pair)} for i, pair in enumerate(pairs)]
    return {"object": "list", "model": model, "data": data, "usage": _usage([text for _, text in pairs])}


def ranking(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The documents, best first."""
    (query,), documents = texts_of(body, "query"), texts_of(body, "documents")
    results = [
        {"index": i, "document": {"text": text}, "relevance_score": _score(query, text)}
        for i, text in enumerate(documents)
    ]
    results.sort(key=lambda result: -float(str(result["relevance_score"])))
    return {"model": model, "results": results, "usage": _usage(documents)}


def tokens(_model: str, body: dict[str, Any]) -> dict[str, Any]:
    """A number for each word."""
    found = prompt_tokens(body)
    return {"count": len(found), "max_model_len": 2048, "tokens": found}


def transcript(_model: str, form: dict[str, bytes]) -> dict[str, Any]:
    """What can be told of a recording without listening to it."""
    if "file" not in form:
        raise Failure(400, "file is missing", param="file")
    return {"text": f"{len(form['file'])} bytes", "usage": {"type": "duration", "seconds": 1}}


def _vector(text: str) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def _score(query: str, text: str) -> float:
    words = text.split()
    return sum(word in query.split() for word in words) / max(1, len(words))


def _usage(texts: list[str]) -> dict[str, int]:
    count = sum(len(text.split()) for text in texts)
    return {"prompt_tokens": count, "total_tokens": count}
