"""The YAML file as types. Plugins' own blocks (`options:`) are checked against the plugin that was named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, StringConstraints, model_validator

from rayllm.serving.spec import Balance

DeploymentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
"""Lower case words joined by single dashes: it becomes part of application names, paths and folders."""
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=80)]
"""What clients send as `model`."""
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=80)]
"""As an environment variable is called; on the nodes it is a file's name."""


Accelerator = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=60)]
"""A name of `ray.util.accelerators`, or of one's own."""


ImageName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$", max_length=300)]
"""Of an OCI image, as after `docker pull`."""


class Strict(BaseModel):
    """Base of every block: an unknown key or a wrong type is an error, never a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class SecretSource(Strict):
    """Where the operator's side reads a secret: one of the two."""

    env: str | None = Field(default=None, min_length=1)
    """Name of an environment variable."""
    file: str | None = Field(default=None, min_length=1)
    """Path of a file that only its owner may read; a relative one is meant from the folder of this file."""

    @model_validator(mode="after")
    def _is_one(self) -> SecretSource:
        if (self.env is None) == (self.file is None):
            raise ValueError("either `env: NAME` or `file: PATH` expected")
        return self


class ClusterConfig(Strict):
    """Where the models run."""

    backend: str = "local"
    """An installed backend; `rayllm plugins` lists them."""
    options: dict[str, Any] = Field(default_factory=dict)
    """That backend's own options."""


class ReplicaRange(Strict):
    """Replicas that follow the load."""

    min: int = Field(default=1, ge=0)
    """At least so many; `0` lets the model sleep until somebody asks for it."""
    max: int = Field(default=1, ge=1)
    """At most so many."""
    target_ongoing: float = Field(default=8, gt=0)
    """Requests in flight per replica that the autoscaler aims at."""


class Resources(Strict):
    """What one replica needs, on each of its nodes."""

    gpus: int = Field(default=0, ge=0)
    """Whole GPUs; they are the only ones that the replica sees."""
    accelerator: Accelerator | None = None
    """Type of the GPUs, as Ray calls it: `L40S`, `H100`, `A100`; any if left out."""
    cpus: float = Field(default=1, gt=0)
    """CPU cores that Ray reserves."""
    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    """Main memory that Ray reserves: `8GiB`, `500MB`, or a number of bytes."""
    nodes: int = Field(default=1, ge=1)
    """Nodes that one replica spans, for a model that one alone can't hold."""
    check_memory: bool = True
    """Refuse a model whose weights alone are more than the memory there is. `false`: only show the estimate."""

    @model_validator(mode="after")
    def _has_gpus_of_a_type(self) -> Resources:
        if self.accelerator and not self.gpus:
            raise ValueError("accelerator is a type of GPUs, and gpus is 0")
        return self


class Routing(Strict):
    """How the gateway chooses a replica, and what it does when none has room. Changed without a restart."""

    balance: Balance = "least_outstanding"
    """Which replica is next. `least_outstanding`: the one with the fewest requests in flight. `prefix`: the same one
    for conversations that begin alike, whose KV cache holds that beginning. `session`: the same one for the same
    `x-session-id` header. A replica that has much more to do than the others is passed over."""
    max_ongoing: int = Field(default=256, ge=1)
    """Requests in flight at each replica; more wait in the gateway."""
    max_queue: int = Field(default=1024, ge=0)
    """Requests of this model that may wait in the gateway; more are answered with 429."""
    fallback: str | None = None
    """The model that answers instead while no replica of this one can. Without it requests wait for a replica."""


class ModelConfig(Strict):
    """One model behind the endpoint."""

    engine: str
    """An installed engine; `rayllm plugins` lists them."""
    source: str
    """Where the weights are: `hf://…`, `s3://…`, `gs://…`, `az://…`, `package:…`, or a path on the nodes."""
    options: dict[str, Any] = Field(default_factory=dict)
    """That engine's own options."""
    environment: str = "auto"
    """Whose Python runs the engine. `auto`: an environment with the engine that is on the node already, else one that
    RayLLM builds there. `current`: the Python that Ray runs on. Else the absolute path of one on the nodes."""
    version: str | None = None
    """Of the engine: `"0.32.0"`, or `"0.32"` for the newest that begins so. Without it, the one that the engine's
    plugin is made for. Another is built in an environment of its own, beside."""
    image: ImageName | None = None
    """A container image that holds the engine, which podman or docker on the nodes runs. It stands for an environment:
    neither `environment` nor `version` goes with it."""
    replicas: Annotated[int, Field(ge=1)] | ReplicaRange = 1
    """How many copies serve the model: a fixed number, or a range that follows the load."""
    resources: Resources = Field(default_factory=Resources)
    """What each replica needs; one CPU core and no GPU if left out."""
    drain_s: float = Field(default=600, ge=0)
    """Seconds that requests in flight may take to finish when a replica stops."""
    routing: Routing = Field(default_factory=Routing)
    """How the gateway treats this model's requests."""
    adapters: dict[ModelName, str] = Field(default_factory=dict)
    """LoRA adapters of the model, each by the name that clients send as `model`, and where it is: as a `source`. They
    come and go without a restart."""


class GatewayConfig(Strict):
    """The OpenAI-compatible endpoint."""

    host: str = "127.0.0.1"
    """The address to listen on. Beyond this machine's own (`127.0.0.1`, `localhost`, `::1`), `keys` are needed."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Where OpenAI clients go: `http://HOST:PORT/v1`."""
    keys: SecretSource | Literal["required"] | None = None
    """Where `rayllm up` reads API keys, one on each line or between commas, as `NAME=KEY` or `KEY`; or `required`: the
    only keys are those of `rayllm keys add`. Without it, whoever reaches the endpoint can use it."""
    aliases: dict[ModelName, str | dict[str, Annotated[int, Field(ge=1)]]] = Field(default_factory=dict)
    """Other names that clients may send as `model`, each for a model or for several by weight: `{new: 5, old: 95}`."""
    tls: SecretName | None = None
    """Name of the one of `secrets` that holds certificate, chain and private key as PEM: the endpoint speaks HTTPS."""
    max_body: Annotated[ByteSize, Field(ge=262_144, le=268_435_456)] = ByteSize(64 << 20)
    """The largest request body: `64MiB`, or a number of bytes."""


class PackagesConfig(Strict):
    """Where the nodes take Python packages from, beside what they are configured for."""

    find_links: list[str] = Field(default_factory=list)
    """Folders of wheels on the nodes, or addresses of pages that list some, as pip's `--find-links`."""
    offline: bool = False
    """Ask no index: what `find_links` and the nodes' own settings lack can't be installed."""


class DeploymentConfig(Strict):
    """A whole file."""

    name: DeploymentName
    """The name of the cluster and of the deployment, by which it is found again when it runs."""
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    """Where the models run; by default the backend `local`."""
    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    """The models, by the name that clients send as `model`: letters, digits, `.`, `_` and `-`, at most 80."""
    gateway: GatewayConfig = Field(default_factory=GatewayConfig)
    """The OpenAI-compatible endpoint; by default `127.0.0.1:8000`."""
    packages: PackagesConfig | None = None
    """Where the nodes take Python packages from; by default from where pip or uv do there."""
    secrets: dict[SecretName, SecretSource] = Field(default_factory=dict)
    """What nodes need and nobody else may see, by name (`HF_TOKEN`), and where `rayllm up` reads it."""
