"""What `doctor` asks of this machine where it is the one that serves: environments, GPUs, room, the gateway's port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from rayllm.checks import Check
from rayllm.config import Checked
from rayllm.engines import AnyEngine, Device
from rayllm.machine.environments import state_of
from rayllm.paths import home
from rayllm.plugins import Plugins
from rayllm.serving.containers.images import has_image
from rayllm.serving.containers.runtime import find_runtime
from rayllm.serving.haproxy.port_claim import PortClaim
from rayllm.serving.prepare import interpreters
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import ensure_environment, folder_of
from rayllm.serving.prepare.room import in_words, nearest_existing

SMI_S = 15.0
SPARE = 10**9
"""Bytes that logs and small weights need."""
Wanted = tuple[AnyEngine, str, str | None, Device]
"""An engine, the `environment:` and `version:` that were written for it, and what it computes on."""


def probes(plugins: Plugins, checked: Checked | None) -> dict[str, Callable[[], Iterable[Check]]]:
    """The questions about this machine, by name."""
    wanted = list(_wanted(plugins, checked))
    asked: dict[str, Callable[[], Iterable[Check]]] = {
        "environment": lambda: [check for one in wanted for check in environment_checks(one)],
        "disk": lambda: disk_checks(wanted),
        "gpu": lambda: gpu_checks(checked),
    }
    if checked and (images := sorted({model.image for model in checked.config.models.values() if model.image})):
        asked["image"] = lambda: image_checks(images)
    if checked:
        gateway = checked.config.gateway
        asked["gateway port"] = partial(port_checks, checked.config.name, gateway.host, gateway.port)
    for engine, _, _, device in wanted:
        if engine.check:
            asked[f"engine {engine.name} ({device.kind})"] = partial(engine.check, device)
    return asked


def _wanted(plugins: Plugins, checked: Checked | None) -> Iterator[Wanted]:
    """What the file's models need; without a file, each installed engine on what this machine has."""
    seen = set()
    asked: list[tuple[AnyEngine, str, str | None, int]]
    if checked is None:
        gpus = 1 if shutil.which("nvidia-smi") else 0
        asked = [(engine, "auto", None, gpus) for engine in plugins.engines.values()]
    else:
        models = checked.config.models.values()
        asked = [
            (plugins.engines[model.engine], model.environment, model.version, model.resources.gpus)
            for model in models
            if not model.image
        ]
    for engine, choice, version, gpus in asked:
        device = detect(gpus)
        if (key := (engine.name, choice, version, device.kind)) not in seen:
            seen.add(key)
            yield engine, choice, version, device


def environment_checks(wanted: Wanted) -> Iterator[Check]:
    """Whether the engine has a Python to run in: the one that was named, this one, or a built one."""
    engine, choice, version, device = wanted
    name = f"environment of {' '.join(filter(None, [engine.name, version]))} ({device.kind})"
    try:
        environment = engine.environment_for(device, version)
    except KeyError:
        return  # `validate` has said so, or nobody asked
    needed = environment.needed
    folder = folder_of(engine.name, environment, device)
    if choice != "auto" or not needed or interpreters.satisfied_here(needed):
        yield Check(name=name, detail=ensure_environment(engine, choice, device, lambda _: None, version=version))
    elif (state := state_of(folder)) in {"ready", "building"}:
        yield Check(name=name, detail=f"{folder.name} is {state}")
    elif state:
        cure = f"the next start builds it anew, or now: rayllm env build {engine.name} --device {device.kind}"
        yield Check(name=name, state="warn", detail=f"{folder.name} is {state}", cure=cure)
    else:
        size = f" (about {in_words(environment.disk)})" if environment.disk else ""
        yield Check(name=name, detail=f"not built yet: the first start builds it{size}, or `rayllm env build`")


def image_checks(images: Iterable[str]) -> Iterator[Check]:
    """Whether this machine can run them, and has them.

    Raises:
        DeploymentError: there is no podman or docker that answers.
    """
    runtime = find_runtime()
    for image in images:
        there = has_image(runtime, image)
        detail = f"{runtime.kind} has {image}" if there else f"{image} is not here yet: the first start pulls it"
        yield Check(name="image", detail=detail)


def disk_checks(wanted: Iterable[Wanted]) -> Iterator[Check]:
    """Room for what has still to be built."""
    needed = SPARE
    for engine, choice, version, device in wanted:
        try:
            environment = engine.environment_for(device, version)
        except KeyError:
            continue
        if choice == "auto" and state_of(folder_of(engine.name, environment, device)) != "ready":
            needed += environment.disk
    place = home()
    free = shutil.disk_usage(nearest_existing(place)).free
    detail = f"{in_words(free)} free at {place}"
    if free >= needed:
        yield Check(name="disk", detail=detail)
    else:
        cure = f"{in_words(needed)} are needed: free some space, or set RAYLLM_HOME to another disk; rayllm env prune"
        yield Check(name="disk", state="fail", detail=detail, cure=cure)


def port_checks(deployment: str, host: str, port: int) -> Iterator[Check]:
    """The gateway's port is free, or this deployment has it.

    Raises:
        ClusterError: somebody else has it, with who.
    """
    PortClaim.take(deployment, host, port).release()
    yield Check(name="gateway port", detail=f"{port} on {host} is free, or this deployment's")


def gpu_checks(checked: Checked | None) -> Iterator[Check]:
    """The GPUs and their driver, as `nvidia-smi` tells."""
    wanted = max((model.resources.gpus for model in checked.config.models.values()), default=0) if checked else 0
    if not shutil.which("nvidia-smi"):
        if wanted:
            cure = "install NVIDIA's driver, or set resources.gpus: 0"
            yield Check(name="gpu", state="fail", detail="a model asks for GPUs, and there is no nvidia-smi", cure=cure)
        else:
            yield Check(name="gpu", detail="none (no nvidia-smi): models run on the CPU")
        return
    argv = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SMI_S, check=False)
    gpus = done.stdout.strip().splitlines()
    if done.returncode or not gpus:
        said = (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"
        yield Check(name="gpu", state="fail" if wanted else "warn", detail=said, cure="repair NVIDIA's driver")
    elif wanted > len(gpus):
        cure = f"set resources.gpus to {len(gpus)} at most"
        yield Check(
            name="gpu", state="fail", detail=f"a model asks for {wanted} GPUs, there are {len(gpus)}", cure=cure
        )
    else:
        yield Check(name="gpu", detail="; ".join(gpus))
