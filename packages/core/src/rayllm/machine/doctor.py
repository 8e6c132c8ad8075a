"""Everything that may stand in the way of a deployment, looked at side by side and each with a bound in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rayllm.checks import Check
from rayllm.config import Checked, load
from rayllm.deployment.session import Session
from rayllm.errors import InputError, PluginError, RayllmError
from rayllm.faults import from_system
from rayllm.machine import cluster_checks, engine_checks, machine_checks
from rayllm.plugins import Plugins

PROBE_S = 20.0
"""Seconds that any one question may take."""
Probe = Callable[[], Iterable[Check]]


def examine(file: Path, plugins: Plugins, environ: Mapping[str, str], *, named: bool) -> list[Check]:
    """Look at this machine, the plugins, the file and its cluster; changes nothing.

    Args:
        file: the deployment's file.
        plugins: what is installed.
        environ: where `${env:NAME}` is looked up.
        named: the person asked for this very file, so that it has to be there.
    """
    checked, file_checks = _look_at_file(file, plugins, environ, named=named)
    probes: dict[str, Probe] = {
        "platform": machine_checks.platform_checks,
        "uv": machine_checks.uv_checks,
        "memory": machine_checks.memory_checks,
    }
    if checked:
        probes |= _of_cluster(checked, plugins)
    here = not checked or "this-machine" in checked.backend.capabilities
    if here:  # else the nodes are elsewhere, and what this machine has says nothing about them
        probes |= engine_checks.probes(plugins, checked)
    return [*machine_checks.plugin_checks(plugins), *file_checks, *_once(ask(probes))]


def _once(checks: list[Check]) -> list[Check]:
    """Without the cluster's failure, where its backend's own check has met the same and can say more of it."""
    cures = {check.cure for check in checks if check.state == "fail" and check.name != "cluster"}
    return [check for check in checks if check.name != "cluster" or check.state != "fail" or check.cure not in cures]


def _of_cluster(checked: Checked, plugins: Plugins) -> dict[str, Probe]:
    try:
        return cluster_checks.probes(Session(checked, plugins))
    except PluginError as error:
        refused = _refused("cluster", error)
        return {"cluster": lambda: [refused]}


def ask(probes: Mapping[str, Probe], bound_s: float = PROBE_S) -> list[Check]:
    """The answers of all probes, in their order; one that fails or takes too long is a check of its own."""
    answers: dict[str, list[Check]] = {}

    def answer(name: str, probe: Probe) -> None:
        try:
            answers[name] = list(probe())
        except RayllmError as error:
            answers[name] = [_refused(name, error)]
        except OSError as error:
            known = from_system(error)
            answers[name] = [_refused(name, known) if known.topic else _broken(name, error)]
        # Also a plugin's check; its fault must not hide what the others found.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            answers[name] = [_broken(name, error)]

    # Daemons: one that hangs must not keep the command from ending.
    threads = [threading.Thread(target=answer, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + bound_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {bound_s:g} s"
    silent = {
        name: [Check(name=name, state="warn", detail=late, cure="look at it by hand, or try again")] for name in probes
    }
    return [check for name in probes for check in answers.get(name, silent[name])]


def _refused(name: str, error: RayllmError) -> Check:
    detail = error.message + (f": {error.cause}" if error.cause else "")
    return Check(name=name, state="fail", detail=detail, cure=error.cure or "")


def _broken(name: str, error: BaseException) -> Check:
    detail = f"this check itself failed: {type(error).__name__}: {error}"
    return Check(name=name, state="warn", detail=detail, cure="report it to who wrote it")


def _look_at_file(
    file: Path, plugins: Plugins, environ: Mapping[str, str], *, named: bool
) -> tuple[Checked | None, list[Check]]:
    if not file.exists() and not named:
        return None, [Check(name="file", detail=f"there is no {file} here: looked at this machine alone")]
    try:
        checked = load(file, plugins, environ)
    except InputError as error:
        first = error.message.partition("\n")[0]
        return None, [Check(name="file", state="fail", detail=first, cure=f"rayllm validate -f {file} tells all")]
    models = len(checked.config.models)
    detail = f"{file}: {checked.config.name} on {checked.backend.name}, {models} model{'s' * (models != 1)}"
    return checked, [Check(name="file", detail=detail)]
