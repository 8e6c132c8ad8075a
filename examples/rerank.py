"""Sort documents by how well they answer a question. OpenAI's client has no call for it, so this is plain HTTP.

$ rayllm up -f examples/hub.yaml
$ python examples/rerank.py
"""

import sys

import httpx

QUESTION = "What is the capital of France?"
DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France.", "France is in Europe."]


def rerank(url: str, model: str, question: str, documents: list[str]) -> list[tuple[int, float]]:
    """The documents' numbers with their scores, the best first."""
    body = {"model": model, "query": question, "documents": documents}
    answer = httpx.post(f"{url}/rerank", json=body, timeout=60).raise_for_status()
    return [(result["index"], result["relevance_score"]) for result in answer.json()["results"]]


def score(url: str, model: str, question: str, documents: list[str]) -> list[float]:
    """The documents' scores, in the order of the documents."""
    body = {"model": model, "text_1": question, "text_2": documents}
    answer = httpx.post(f"{url}/score", json=body, timeout=60).raise_for_status()
    return [item["score"] for item in answer.json()["data"]]


def main(model: str = "reranker", url: str = "http://127.0.0.1:8000/v1") -> None:
    """Print the documents, the best first, then the bare scores."""
    print(QUESTION)
    for number, value in rerank(url, model, QUESTION, DOCUMENTS):
        print(f"  {value:.3f}  {DOCUMENTS[number]}")
    print("scores:", ", ".join(f"{value:.3f}" for value in score(url, model, QUESTION, DOCUMENTS)))


if __name__ == "__main__":
    main(*sys.argv[1:])
