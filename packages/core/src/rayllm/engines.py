"""What an engine plugin hands to RayLLM: data and one pure function, never a running thing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from rayllm.checks import Check
from rayllm.shape import Shape


class Options(BaseModel):
    """Base of every plugin's `options:` block: frozen, and an unknown key is an error.

    A docstring under a field becomes its description in `rayllm schema` and in error texts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


OptionsT = TypeVar("OptionsT", bound=Options)
RENDEZVOUS_PORTS = 16
"""Ports at which the ranks of a replica may meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the engine's process computes on, as found on the node that serves."""

    kind: str
    """`cpu` or `cuda`."""
    features: frozenset[str] = frozenset()
    """CPU flags as the kernel names them (`avx2`, `avx512f`, `avx512_bf16`, `amx_bf16`); empty on a GPU."""
    here: bool = True
    """False where this machine prepares what another one will run, and may lack its device."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The Python packages an engine's process needs, in an environment of its own."""

    requires: Sequence[str]
    """Requirements as pip reads them, without index addresses; exact versions build the same everywhere."""
    provides: str = ""
    """The one requirement whose presence on a node makes its own Python a match; the first of `requires` if empty."""
    python: str = ">=3.10,<3.14"
    """Python versions the engine runs on."""
    locked: bool = False
    """`requires` names every package, dependencies included: they are installed without resolving."""
    imports: Sequence[str] = ()
    """Modules imported once after the build, to prove that the environment works."""
    disk: int = 0
    """Bytes that it takes at least; without so much free space, no build is begun. 0 where that is not known."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files laid among the installed packages, by their paths in `site-packages`: what stands in for a package
    that can't be had for a device, or a `.pth` file. Another text makes another environment."""
    beside: Sequence[str] = ()
    """Requirements that another version of the engine than the locked one gets beside its own package."""
    without: Sequence[str] = ()
    """Distributions that another version never gets, whoever requires them: what has no build for the device."""

    @property
    def needed(self) -> str:
        """The requirement by which a Python is known to have the engine; empty for an engine that needs nothing."""
        return self.provides or next(iter(self.requires), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Generic[OptionsT]):
    """Everything an engine's command may depend on. All values are final: nothing is left to look up."""

    python: str
    """Path of the interpreter of the engine's environment."""
    model_path: str
    """Folder with the model's files (Hugging Face layout), on this node."""
    model_name: str
    """The name clients send as `model`."""
    options: OptionsT
    host: str
    """Address to listen on."""
    port: int
    device: Device
    gpus: int = 0
    """GPUs of this replica, on each of its nodes; they are the only ones the process sees."""
    cpus: int = 1
    """CPU cores reserved for this replica, on each of its nodes."""
    memory: int | None = None
    """Bytes of main memory reserved for this replica on each of its nodes, if any were asked for."""
    nodes: int = 1
    """Nodes that this replica spans. Each calls `commands` with its own paths, and starts the command of its rank."""
    addresses: Sequence[str] = ()
    """The nodes' IP addresses, rank 0 first; empty for a single node."""
    rendezvous_port: int = 0
    """The first of `RENDEZVOUS_PORTS` ports on rank 0's address, one after the other, that are kept free for the
    ranks to meet at; 0 for a single node."""
    interface: str = ""
    """The network interface of this node's address: `eth0`; empty for a single node."""


@dataclass(frozen=True, slots=True, init=False)
class Command:
    """One process of an engine: `Command(python, "-m", "server", ready="/health")`."""

    argv: tuple[str, ...]
    ready: str
    """HTTP path that answers 200 once the engine can serve."""
    metrics: str | None
    """HTTP path of the Prometheus metrics, if the engine has any."""
    env: Mapping[str, str]
    """Variables added to the process's environment. Never a secret: those come by name."""

    def __init__(
        self,
        *argv: str,
        ready: str = "/health",
        metrics: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        object.__setattr__(self, "argv", argv)
        object.__setattr__(self, "ready", ready)
        object.__setattr__(self, "metrics", metrics)
        object.__setattr__(self, "env", dict(env or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What an engine's options say of memory, so that `rayllm plan` can tell whether a model fits."""

    length: int | None = None
    """Longest prompt and answer together, in tokens; None: what the model was made for."""
    dtype: str = ""
    """Type that the weights are computed in: `float32`, `bfloat16`, `float16`; empty: the model's own, in 16 bits."""
    weight_bytes: float | None = None
    """Bytes of each weight, where weights that the files hold in floating point are quantised while they are loaded."""
    kv_dtype: str = ""
    """Type of the KV cache: `fp8`, or as of `dtype`; empty: as the weights are computed in."""
    kv_cache: int | None = None
    """Bytes of the KV cache of each part; None: of `kv_tokens`, or what is left."""
    kv_tokens: int | None = None
    """Tokens that the KV cache holds; None: as many as there is room for."""
    share: float = 1.0
    """Of each GPU's memory, what the engine takes at most."""
    pads_heads: bool = False
    """Attention heads that the tensor parallel size does not divide are padded, so such a size is not refused."""
    overhead: int = 0
    """Bytes that each part takes beside weights and KV cache, within `share`: runtime, graphs, activations; roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Names of an engine's Prometheus metrics, summed over their labels."""

    running: str
    """Requests being computed."""
    waiting: str
    """Requests in the engine's queue."""
    generated: str
    """Tokens generated since the start: a counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArguments:
    """An option that takes any flag of the engine's own server, and what is needed to check it before anything starts.

    The option is a mapping of flags (with or without dashes) to values, declared as `dict[str, JsonValue]`.
    """

    title: str
    """The engine's name in error texts: `vLLM`."""
    pinned: Mapping[str, Path]
    """By `Device.kind`, the arguments of the engine in `Engine.environment`: written by `rayllm.arguments.dump`."""
    parser: str
    """Python that defines `parser`, the server's `argparse.ArgumentParser`; run by the engine's environment alone."""
    owned: Mapping[str, str]
    """Flags that may not be set here, and why or what to write instead: `{"port": "RayLLM chooses the port"}`."""
    option: str = "engine_args"
    """The option's name."""
    dotted: bool = False
    """Whether the server takes `--flag.key value` for a part of a JSON-valued flag."""

    def command_line(self, device: Device, values: Mapping[str, Any]) -> list[str]:
        """The option's value as words of the server's command line, as the pinned arguments want them."""
        from rayllm.arguments.listing import read_list
        from rayllm.arguments.words import command_line

        return command_line(read_list(self.pinned[device.kind]), values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """How an engine's server takes LoRA adapters while it runs: by a POST of `lora_name` and `lora_path` as JSON."""

    load: str
    """Path that loads one. Like the next, it is for the replica alone: the gateway passes on neither."""
    unload: str
    """Path that forgets one, by `lora_name` alone."""
    room: str
    """The option that says how many a replica holds at most; a whole number, with a default."""
    rank: str
    """The option with the highest rank of any; a whole number, with a default."""
    switch: str = "enable_lora"
    """The option that turns them on. RayLLM sets it for a model whose `adapters:` the file names."""
    called: str = "{adapter}"
    """What a request has to name as `model`, made of `{model}` and `{adapter}`."""
    endpoints: Iterable[str] | None = None
    """Of the paths that clients may use, those that answer by the adapter; None for all. At the others the engine would
    answer by the model itself without a word, so the gateway refuses."""
    refuse: Callable[[Collection[str], Collection[str]], str | None] | None = None
    """`refuse(changed, modules)`: why the engine can't take an adapter that changes some of the model's modules
    (`q_proj`, `up_proj`, …), or None; for what the engine's own checks let through and it then stops on."""


OPENAI_ENDPOINTS = frozenset(
    {
        "/health",
        "/v1/models",
        *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/"),
        *("/v1/messages", "/v1/messages/count_tokens"),
        *("/v1/embeddings", "/v1/classify", "/v1/moderations", "/classify", "/pooling"),
        *("/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score"),
        *("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/realtime"),
        *("/v1/images/generations", "/v1/images/edits"),
        *("/v1/tokenize", "/v1/detokenize", "/tokenize", "/detokenize"),
    }
)
"""Paths of any engine that clients may use: they ask a model for something. The gateway knows no others, but for an
engine's own `endpoints`."""


CAPABILITIES = {
    "chat": "chats: /v1/chat/completions",
    "completions": "goes on with a text: /v1/completions",
    "data-parallel": "runs copies of a model in one replica, which share its requests",
    "embeddings": "turns texts into vectors: /v1/embeddings",
    "expert-parallel": "spreads a mixture's experts over the GPUs of a replica",
    "gguf": "serves GGUF files: its environment has transformers, gguf and accelerate, which convert them",
    "lora": "serves LoRA adapters",
    "multi-node": "runs one replica on several nodes: a command for each node rank",
    "pipeline-parallel": "puts the layers of a model on several GPUs, one after the other",
    "rerank": "ranks documents: /v1/rerank",
    "streaming": "sends an answer while it is being made",
    "structured-output": "answers in a given JSON schema",
    "tensor-parallel": "splits each layer of a model over several GPUs",
    "tools": "lets a model call functions",
    "vision": "takes pictures in a chat",
}
"""What an engine may declare, and what it promises by it."""


def capability_rows(engines: Mapping[str, Mapping[str, Iterable[str]]]) -> list[list[str]]:
    """A row for each capability: its word, and the devices on which each engine has it.

    Args:
        engines: by name, then by kind of device, the words.
    """
    return [
        [word, *(", ".join(kind for kind, words in by.items() if word in words) or "-" for by in engines.values())]
        for word in CAPABILITIES
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Generic[OptionsT]):
    """An OpenAI-compatible server that RayLLM can start, described as data."""

    name: str
    """What a person writes after `engine:`; lower case words joined by `-`."""
    summary: str
    """One line for `rayllm plugins`."""
    options: type[OptionsT]
    """Validates the `options:` block, before anything starts."""
    environment: Environment | Mapping[str, Environment]
    """What to install, for every device or by `Device.kind`."""
    commands: Callable[[Launch[OptionsT]], Sequence[Command]]
    """The processes of one replica, one for each node rank; only the first is asked over HTTP. Pure: no I/O, the same
    in, the same out."""
    capabilities: Iterable[str] | Mapping[str, Iterable[str]] = field(default=frozenset())
    """What the engine serves, of `CAPABILITIES`: on every device, or by `Device.kind`. What a file asks for beyond that
    is refused."""
    endpoints: Iterable[str] = field(default=frozenset())
    """Paths that clients may use beside `OPENAI_ENDPOINTS`; one with a slash at its end stands for all below it. Never
    one that manages the engine (loads adapters, puts it to sleep, tells how it was started)."""
    gauges: Gauges | None = None
    """What draining, autoscaling and the watch for a hung engine read; without it they go by the process alone."""
    explain: Callable[[str], str | None] | None = None
    """Turns the last lines of the engine's log into what to do next; None where it knows nothing."""
    arguments: EngineArguments | None = None
    """The option that takes the engine's own flags, if it has one: they are checked against the engine's own list."""

    shape: Callable[[OptionsT, int], Shape] | None = None
    """How a replica with these options is split over this many GPUs, those of all its nodes together (0 on CPUs); it
    raises InputError, with the numbers, for what can't work. Pure. Without it, a replica is one part to RayLLM."""

    memory: Callable[[OptionsT, Device, int | None], MemorySettings] | None = None
    """What the options say of memory on this device, where a replica reserves so many bytes of main memory (None: it
    reserves none). Pure. Without it, `rayllm plan` can't tell whether a model fits."""

    extras: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """By option, then by its value: what it needs beside `environment`, as exact requirements, and what these need in
    turn. `{"load_format": {"streamer": ["streamer==1.0"]}}`: a model with `load_format: streamer` gets another
    environment than those without."""

    adapters: Adapters | None = None
    """How it serves LoRA adapters; an engine with the capability `lora` has it, another has not."""

    check: Callable[[Device], Iterable[Check]] | None = None
    """What `rayllm doctor` looks at on a machine that is to serve, for this device; quick, changes nothing."""

    @property
    def devices(self) -> Sequence[str]:
        """The kinds of device that it runs on."""
        return ("cpu", "cuda") if isinstance(self.environment, Environment) else sorted(self.environment)

    def can(self, kind: str) -> frozenset[str]:
        """What it serves on this kind of device; nothing where it does not run."""
        if kind not in self.devices:
            return frozenset()
        declared = self.capabilities
        return frozenset(declared.get(kind, ()) if isinstance(declared, Mapping) else declared)

    def environment_for(
        self, device: Device, version: str | None = None, options: Mapping[str, Any] | None = None
    ) -> Environment:
        """The environment for `device`.

        Args:
            device: what the engine computes on.
            version: of the engine, as after `version:` in a file; None for the one that the plugin is made for.
            options: a model's `options:`; some need more packages (`extras`).

        Raises:
            KeyError: the engine does not run on that kind of device.
            ValueError: `version` is none, or the engine has no package that could have another.
        """
        from rayllm.extras import extras_for
        from rayllm.versions import at_version

        made_for = self.environment if isinstance(self.environment, Environment) else self.environment[device.kind]
        found = made_for if version is None else at_version(made_for, version)
        extras = extras_for(self, options or {})
        return replace(found, requires=(*found.requires, *extras)) if extras else found


AnyEngine = Engine[Any]
