"""Serve a real model on this machine, ask it something as any OpenAI client would, and clean up.

Run it with: nox -s demo
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from openai import OpenAI

QUESTION = "What is the capital of France?"


def example() -> Path:
    """The file to serve: on a GPU where the driver shows one."""
    smi = shutil.which("nvidia-smi")
    has_gpu = smi and "GPU 0" in subprocess.run([smi, "-L"], check=False, capture_output=True, text=True).stdout
    return Path(__file__).with_name("quickstart-gpu.yaml" if has_gpu else "quickstart.yaml")


def rayllm(*arguments: str) -> None:
    """Run the command line as a person would."""
    print("$ rayllm", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "rayllm", *arguments], check=True)


def ask(client: OpenAI) -> str:
    """Stream one answer to the terminal, with its timing."""
    started = time.perf_counter()
    stream = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        temperature=0,
        max_tokens=40,
    )
    answer, first = "", 0.0
    print(f"\n  {QUESTION}\n  ", end="")
    for chunk in stream:
        text = chunk.choices[0].delta.content or "" if chunk.choices else ""
        first = first or (time.perf_counter() - started if text else 0.0)
        answer += text
        print(text, end="", flush=True)
    total = time.perf_counter() - started
    print(f"\n\n  first token after {first * 1000:.0f} ms, whole answer after {total:.2f} s\n")
    return answer


def main() -> None:
    """Up, ask, down."""
    file = os.path.relpath(example())
    started = time.perf_counter()
    try:
        rayllm("up", "-f", file, "--yes")
        ready = time.perf_counter() - started
        with OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none-needed-on-loopback") as client:
            answer = ask(client)
        print(f"  from nothing to an answer: {ready:.0f} s; what was built is cached, so the next time is quicker")
        print(f"  next: rayllm up -f {file} leaves it running; rayllm init writes your own file\n")
    finally:
        rayllm("down", "-f", file, "--yes")
    if "Paris" not in answer:
        sys.exit(f"the model answered {answer!r}, which is not right")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)  # the command has said why
    except KeyboardInterrupt:
        sys.exit(130)
