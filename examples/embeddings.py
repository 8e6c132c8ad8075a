"""Find the text that is nearest in meaning, with OpenAI's client.

$ rayllm up -f examples/smollm2.yaml
$ python examples/embeddings.py
"""

import os
import sys

from openai import OpenAI

QUESTION = "How do I keep my bread fresh?"
TEXTS = [
    "Bread stays fresh for days in a box of wood.",
    "The stock market fell by two percent.",
    "Trains to the coast leave every hour.",
]


def embed(client: OpenAI, model: str, texts: list[str]) -> list[list[float]]:
    """One vector for each text, of length 1."""
    return [item.embedding for item in client.embeddings.create(model=model, input=texts).data]


def similarity(one: list[float], other: list[float]) -> float:
    """The cosine of the angle between two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def main(model: str = "embedder", url: str = "http://127.0.0.1:8000/v1") -> None:
    """Print the texts, the nearest first."""
    with OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "not-needed")) as client:
        question, *texts = embed(client, model, [QUESTION, *TEXTS])
    print(f"{QUESTION}   ({len(question)} numbers)")
    ranked = sorted(zip(TEXTS, texts, strict=True), key=lambda item: similarity(question, item[1]), reverse=True)
    for text, vector in ranked:
        print(f"  {similarity(question, vector):.3f}  {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
