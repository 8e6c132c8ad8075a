"""Serve a model, talk to it, look at it and clean up, all from Python.

Run it with: python examples/python_api.py [FILE]
"""

import sys

from rayllm import RayLLM, RayllmError


def show(step: str, detail: str, *, done: bool = False) -> None:
    """Tell what goes on, as `rayllm up` does."""
    print("✔" if done else "·", f"{step:<12}", detail, file=sys.stderr)


def main(file: str) -> None:
    """Up, ask, look, down."""
    llm = RayLLM.from_file(file)
    try:
        llm.up(show)
        name = next(iter(llm.config.models))
        for part in llm.chat([{"role": "user", "content": "What is the capital of France?"}], name, max_tokens=40):
            print(part.text, end="", flush=True)
        model = llm.model_status(name)
        print(f"\n{model.name} is {model.state}: {model.running} of {model.wanted} replicas, at {model.endpoint}")
    finally:
        llm.down(show)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "rayllm.yaml")
    except RayllmError as problem:
        sys.exit(str(problem))
