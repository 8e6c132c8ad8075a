"""Rules for engines: what the plugin says of its engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rayllm.engines import CAPABILITIES, OPENAI_ENDPOINTS, Device, Environment, Gauges
from rayllm.testing.engine_kit.base import EngineRules

CHECK_S = 25.0
"""Five times of what a person waits for one line of `rayllm doctor`."""
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


class DescriptionRules(EngineRules):
    """What the plugin says of its engine."""

    def test_its_environment_can_be_installed(self) -> None:
        """From any index: requirements alone, exact ones where the environment calls itself locked."""
        environment = self._found().environment
        kinds = environment if isinstance(environment, Mapping) else {"": environment}
        for kind, one in kinds.items():
            if kind not in {"", "cpu", "cuda"}:
                self._broken(f"it has an environment for {kind!r}", "devices are `cpu` and `cuda`")
            for wrong in _wrongs(one):
                self._broken(f"its environment{f' for {kind}' if kind else ''}: {wrong}", "correct the Environment")

    def test_its_options_packages_can_be_installed(self) -> None:
        """What an option needs beside the environment: of an option that there is, and exact."""
        engine = self._found()
        for option, by in engine.extras.items():
            if option not in engine.options.model_fields:
                self._broken(f"it has extras for {option!r}, which is none of its options", "name one of its options")
            for value, lines in by.items():
                for wrong in _wrongs(Environment(lines, locked=True)):
                    self._broken(f"its extras for {option}: {value}: {wrong}", "correct the extras")

    def test_its_capabilities_are_known(self) -> None:
        """Words that RayLLM knows, each with its promise."""
        engine = self._found()
        if unknown := sorted({word for kind in engine.devices for word in engine.can(kind)} - set(CAPABILITIES)):
            do = f"declare some of {', '.join(CAPABILITIES)}"
            self._broken(f"it declares {', '.join(map(repr, unknown))}", do)

    def test_its_gguf_files_can_be_converted(self) -> None:
        """An engine with `gguf` has what converts such files in its environment, as far as that names every package."""
        engine = self._found()
        for one in (engine.environment_for(Device(kind=kind)) for kind in engine.devices if "gguf" in engine.can(kind)):
            there = {Requirement(line).name.lower() for line in one.requires}
            if one.locked and (missing := sorted(_CONVERTS - there)):
                self._broken(
                    f"it declares gguf, and its environment lacks {', '.join(missing)}", "add them, or drop it"
                )

    def test_its_adapters_can_be_loaded(self) -> None:
        """An engine with `lora` says how, with paths that are not for clients and options that it has."""
        engine, how = self._found(), self._found().adapters
        if (how is not None) != any("lora" in engine.can(kind) for kind in engine.devices):
            both = "lora without Engine.adapters" if how is None else "Engine.adapters without lora"
            self._broken(f"it declares {both}", "declare both, or neither")
        if how is None:
            return
        for path in (how.load, how.unload):
            if not path.startswith("/") or path in {*engine.endpoints, *OPENAI_ENDPOINTS}:
                self._broken(f"it loads adapters at {path!r}", "name a path that is none of its endpoints")
        for name in (how.switch, how.room, how.rank):
            if name not in engine.options.model_fields:
                self._broken(f"its adapters follow the option {name}, which it has not", "name one of its options")

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
        for kind, told in self._looked().get("checks", {}).items():
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
