"""Rules for engines: the plugin as it is found, imported and described."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rayllm.engines import CAPABILITIES, OPENAI_ENDPOINTS, Environment, Gauges
from rayllm.testing.engine_kit.base import EngineRules, installed
from rayllm.testing.engine_kit.look import Seen, look

IMPORT_MS = 100.0
"""Five times of what a plugin may take to be imported and asked."""
CHECK_S = 25.0
"""Five times of what a person waits for one line of `rayllm doctor`."""
_PROBE = "rayllm.testing.engine_kit.probe"
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MANAGING = re.compile(
    r"lora|adapter|sleep|wake|pause|resume|shutdown|abort|metrics|version|server_info|admin|cache|profile|weights|rpc"
    r"|config|load|scale|reset"
)
"""What stands in paths that load, stop or tell about an engine."""
_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_CONVERTS = frozenset({"transformers", "gguf", "accelerate"})
_LOGS = (
    "",
    "\n\n\n",
    "{} {what} %s %(x)s \\1 \x00 \ud800 \N{PILE OF POO}",
    "INFO started\nOSError: [Errno 98] Address already in use",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'x'\n" * 60,
    "a" * 100_000,
    "\n".join("=" * 400 for _ in range(200)),
)


@cache
def seen(engine: str, point: str, blocks: str, *, elsewhere: bool) -> Seen:
    """The plugin from outside, once for each engine and its samples (as JSON)."""
    request = {"engine": engine, "point": point, "blocks": json.loads(blocks), "check": not elsewhere}
    return look(_PROBE, request, elsewhere=elsewhere)


class DiscoveryRules(EngineRules):
    """The plugin as it is found, imported and described."""

    def _seen(self, *, elsewhere: bool = False) -> Seen:
        self._found()
        info = self._info()
        try:
            return seen(self.engine, info.name if info else "", json.dumps(self._blocks()), elsewhere=elsewhere)
        except subprocess.TimeoutExpired as error:
            self._broken(f"it does not come to an end in {error.timeout:g} s", "see what it waits for when imported")

    def test_it_is_found_by_its_entry_point(self) -> None:
        """Installed, discovery loads it."""
        if self.engine in installed().engines:
            return
        broken = "; ".join(f"{info.title}: {info.cause}" for info in installed().broken) or "no plugin is broken"
        point = f'[project.entry-points.rayllm] engine-{self.engine} = "your_module"'
        self._broken(f"no installed plugin offers it; {broken}", f"install the plugin, with {point}")

    def test_its_import_is_light(self) -> None:
        """Every command that reads a file imports it: its own modules, pydantic and the standard library."""
        first, second = self._seen(), self._seen(elsewhere=True)
        if first.foreign:
            do = "import them inside of functions, or in the engine's process"
            self._broken(f"its import brings {', '.join(first.foreign)}", do)
        if (least := min(first.cpu_ms, second.cpu_ms)) > IMPORT_MS:
            do = "put what takes long into functions; 20 ms are enough for a plugin"
            self._broken(f"its discovery takes {least:.0f} ms of CPU time (at most {IMPORT_MS:g})", do)

    def test_its_import_prints_nothing(self) -> None:
        """What programs read of a command has to stay clean."""
        if said := self._seen().printed.strip():
            self._broken(f"it prints {said[:200]!r}", "print nothing when imported, or when asked for commands")

    def test_its_summary_is_one_line(self) -> None:
        """It stands in lists."""
        summary = self._found().summary
        if not summary.strip() or "\n" in summary or len(summary) > 80:  # noqa: PLR2004
            self._broken(f"its summary is {summary!r}", "say in one line of up to 80 characters what it is")

    def test_its_environment_can_be_installed(self) -> None:
        """From any index: requirements alone, exact ones where the environment calls itself locked."""
        environment = self._found().environment
        kinds = environment if isinstance(environment, Mapping) else {"": environment}
        for kind, one in kinds.items():
            if kind not in {"", "cpu", "cuda"}:
                self._broken(f"it has an environment for {kind!r}", "devices are `cpu` and `cuda`")
            for wrong in _wrongs(one):
                self._broken(f"its environment{f' for {kind}' if kind else ''}: {wrong}", "correct the Environment")

    def test_its_capabilities_are_known(self) -> None:
        """Words that RayLLM knows, each with its promise."""
        if unknown := sorted(set(self._found().capabilities) - set(CAPABILITIES)):
            do = f"declare some of {', '.join(CAPABILITIES)}"
            self._broken(f"it declares {', '.join(map(repr, unknown))}", do)

    def test_its_gguf_files_can_be_converted(self) -> None:
        """An engine with `gguf` has what converts such files in its environment, as far as that names every package."""
        environment = self._found().environment
        found = list(environment.values()) if isinstance(environment, Mapping) else [environment]
        for one in found if "gguf" in self._found().capabilities else ():
            there = {Requirement(line).name.lower() for line in one.requires}
            if one.locked and (missing := sorted(_CONVERTS - there)):
                self._broken(
                    f"it declares gguf, and its environment lacks {', '.join(missing)}", "add them, or drop it"
                )

    def test_its_endpoints_manage_nothing(self) -> None:
        """Whoever has an API key can ask for them."""
        for path in self._found().endpoints:
            if not re.fullmatch(r"/[A-Za-z0-9]\S*", path) or "?" in path:
                self._broken(f"the endpoint {path!r} is no path", "write it like /v1/something")
            if path in OPENAI_ENDPOINTS:
                continue
            if _MANAGING.search(path.lower()):
                self._broken(f"the endpoint {path} manages the engine, or tells about it", "leave it out")
            if covered := sorted(known for known in OPENAI_ENDPOINTS if path.endswith("/") and known.startswith(path)):
                do = "name the paths one by one: engines manage themselves below the same folders"
                self._broken(f"the endpoint {path} stands for all below it, {covered[0]} among them", do)

    def test_its_gauges_are_names_of_metrics(self) -> None:
        """As Prometheus has them, three different ones, and there is a path to read them from."""
        gauges = self._found().gauges
        if gauges is None:
            return
        names = [gauges.running, gauges.waiting, gauges.generated] if isinstance(gauges, Gauges) else []
        if len(set(names)) < len(Gauges.__slots__) or not all(_METRIC.fullmatch(str(name)) for name in names):
            self._broken(f"its gauges are {gauges}", "name three metrics, as the engine writes them")

    def test_it_explains_any_log(self) -> None:
        """A log may hold anything; advice is a text, or None where it knows nothing."""
        explain = self._found().explain
        for log in _LOGS if explain else ():
            try:
                told = explain(log) if explain else None
            # Whatever it raises is the failure.
            except Exception as error:  # noqa: BLE001
                self._broken(f"explain({log[:60]!r}) raises {type(error).__name__}: {error}", "take any text")
            if told is not None and not (isinstance(told, str) and told.strip()):
                self._broken(f"explain({log[:60]!r}) returns {told!r}", "return what to do, or None")

    def test_its_check_is_quick_and_changes_nothing(self) -> None:
        """`rayllm doctor` calls it on people's machines."""
        if self._found().check is None:
            pytest.skip("it has no check")
        for kind, told in self._seen().checks.items():
            if error := told.get("error"):
                self._broken(f"check on {kind} raises {error}", "tell what is wrong as a Check")
            if told["acts"]:
                self._broken(f"check on {kind} {told['acts'][0]}", "look, and change nothing")
            if told["seconds"] > CHECK_S:
                self._broken(f"check on {kind} takes {told['seconds']:.0f} s (at most {CHECK_S:g})", "bound it")
            for made, name, state, detail, cure in told["found"]:
                if made != "Check" or not name or not detail or (state != "ok" and not cure):
                    seen = f"check on {kind} gives {made}(name={name!r}, state={state!r}, {detail=}, {cure=})"
                    self._broken(seen, "give Checks with a name, a detail, and a cure where something is wrong")


def _wrongs(environment: Environment) -> Iterator[str]:
    """What keeps an environment from being installed."""
    try:
        pins = [Requirement(line) for line in environment.requires]
        provided = Requirement(environment.provides) if environment.provides else None
        versions = SpecifierSet(environment.python)
    except (InvalidRequirement, InvalidSpecifier) as error:
        yield f"{error}".partition("\n")[0]
        return
    for pin in pins:
        exact = [one.version for one in pin.specifier if one.operator == "==" and "*" not in one.version]
        if pin.url:
            yield f"{pin} names an address, which no mirror of an index can stand in for"
        if environment.locked and not exact:
            yield f"it is locked, and {pin} is no exact version"
        if provided and exact and provided.name == pin.name and not provided.specifier.contains(exact[0], True):
            yield f"it installs {pin}, which is not what it provides: {provided}"
    if not any(versions.contains(python) for python in _PYTHONS):
        yield f"python {environment.python!r} is none of {', '.join(_PYTHONS)}"
    yield from (f"imports {name!r} is no module" for name in environment.imports if not _MODULE.fullmatch(name))
    if environment.disk < 0:
        yield f"disk is {environment.disk}"
