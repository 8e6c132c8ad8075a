"""Rules for engines: options, and the command line that comes of them. No process is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rayllm.config import ConfigErrors, load
from rayllm.engines import AnyEngine, Command, Launch, Options
from rayllm.errors import InputError
from rayllm.testing.engine_kit import samples
from rayllm.testing.engine_kit.description_rules import DescriptionRules
from rayllm.testing.plugin_rules import installed

_EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - what is looked for


class CommandRules(DescriptionRules):
    """Options, and the command line that comes of them."""

    def _launched(self) -> list[tuple[Launch[Any], list[Any]]]:
        """Every launch of the samples that the engine does not refuse, with its commands."""
        engine, found = self._found(), []
        for block in self._blocks():
            for launch in samples.launches(engine, samples.read(engine.options, block)):
                try:
                    found.append((launch, _commands(engine, launch)))
                # That it only refuses as it should is a rule of its own.
                except Exception:  # noqa: BLE001, S112
                    continue
        return found

    def test_every_option_changes_the_command(self) -> None:
        """One that does nothing promises what the engine does not do."""
        engine, blocks = self._found(), self._blocks()
        if not samples.schema(engine.options):
            pytest.skip("its options have no JSON schema, which is another rule's failure")
        secret = samples.secrets(engine.options)
        for name in samples.names(engine.options):
            if name in secret:
                continue
            told = [
                (with_it, without)
                for block, other in samples.variants(engine, blocks, name)
                for with_it, without in zip(samples.said(engine, block), samples.said(engine, other), strict=False)
                if with_it is not None and without is not None
            ]
            if not told:
                self._broken(f"the kit can't make up a value of {name}", f"set one: options = [{{}}, {{{name!r}: …}}]")
            if all(with_it == without for with_it, without in told):
                self._broken(f"{name} changes nothing in the command", f"pass {name} on, or drop the option")

    def test_its_commands_are_commands(self) -> None:
        """What a replica can start: arguments as text, paths to ask, variables as text."""
        launched = self._launched()
        if not launched:
            self._broken("it refuses every launch of its samples", "set `options` that it can be started with")
        for _, commands in launched:
            if not commands:
                self._broken("commands() returns none", "return at least one Command")
            for command in commands:
                if wrong := _wrong_in(command, needs_metrics=self._found().gauges is not None):
                    self._broken(wrong, "give Command texts alone, and paths that begin with a slash")

    def test_its_commands_are_told_where_to_listen(self) -> None:
        """On the host and port that they are given, under the model's name, and nowhere else."""
        for launch, commands in self._launched():
            said = [word for word in _texts(commands) if isinstance(word, str)]
            wanted = {"host": launch.host, "port": str(launch.port), "model_name": launch.model_name}
            for name, value in wanted.items():
                if not any(value in word for word in said):
                    self._broken(f"launch.{name} ({value}) is not in its command", f"pass launch.{name} to the server")
            for word in said:
                if _EVERYWHERE & {word, *word.split("=")}:
                    self._broken(f"its command holds {word!r}, which is every address", "listen on launch.host alone")

    def test_it_has_a_command_for_each_node_rank(self) -> None:
        """Where it declares multi-node: each knows where rank 0 is, and the ranks differ."""
        if "multi-node" not in self._found().capabilities:
            pytest.skip("it does not declare multi-node")
        found = [
            (launch, ranks)
            for block in (*self._blocks(), self.feature_options.get("multi-node", {}))
            for launch in samples.on_two_nodes(self._found(), block)
            if (ranks := samples.words_of(self._found(), launch))
        ]
        if not found:
            self._broken("it refuses two nodes", "tell the kit: feature_options = {'multi-node': {OPTION: VALUE}}")
        for launch, ranks in found:
            first = launch.addresses[0]
            if len(ranks) != launch.nodes or any(not any(first in word for word in words) for words in ranks):
                do = "return a command for each of launch.nodes, all of which are told launch.addresses[0]"
                self._broken(f"its commands for {launch.nodes} nodes are {ranks}", do)
            if ranks[0] == ranks[1]:
                self._broken(f"both ranks are started by {ranks[0]}", "tell each process its rank")

    def test_its_commands_are_pure(self) -> None:
        """The same launch, the same commands, on any machine; nothing is read, asked, started or written for them."""
        here, there = self._looked(), self._looked(elsewhere=True)
        if acts := here.get("acts"):
            self._broken(f"commands() {acts[0]}", "take everything from the launch; read nothing, ask nobody")
        if mutated := here.get("mutated"):
            self._broken(f"commands() changes launch.options.{mutated[0]}", "copy what you change")
        first, other = here.get("calls", []), there.get("calls", [])
        for one, again in (*zip(first[::2], first[1::2], strict=False), *zip(first, other, strict=False)):
            if one != again:
                do = "take nothing from time, chance or the environment"
                self._broken(f"one launch gives {one} and {again}", do)

    def test_it_refuses_in_words(self) -> None:
        """What can't be started is an InputError with a cure: a person wrote it, and reads it."""
        engine = self._found()
        for block in self._blocks():
            for launch in samples.launches(engine, samples.read(engine.options, block)):
                try:
                    engine.commands(launch)
                except InputError as error:
                    if not (error.message.strip() and error.cure):
                        self._broken(f"it refuses {block} with {error!s:.200}, without a cure", "say what to do, too")
                # Whatever else it raises is the failure.
                except Exception as error:  # noqa: BLE001
                    seen = f"commands() raises {type(error).__name__}: {error} for {block} on {launch.device.kind}"
                    self._broken(seen, "raise rayllm.InputError with a message and a cure")

    def test_secrets_stay_out_of_the_command(self) -> None:
        """Everybody on the machine can read an argument list."""
        engine, base = self._found(), self._blocks()[0]
        for name in samples.secrets(engine.options):
            for launch in samples.launches(engine, samples.read(engine.options, {**base, name: samples.CANARY})):
                if any(samples.CANARY in str(word) for word in _texts(_commands(engine, launch))):
                    do = "let the server read it from a file: RayLLM lays secrets in $RAYLLM_HOME/secrets"
                    self._broken(f"the secret {name} stands in its command", do)

    def test_it_runs_on_what_it_has_an_environment_for(self) -> None:
        """An environment by device declares that the engine runs there."""
        engine = self._found()
        kinds = engine.devices if isinstance(engine.environment, Mapping) else []
        for kind in kinds:
            if not any(launch.device.kind == kind for launch, _ in self._launched()):
                do = f"leave {kind!r} out of `environment`, or let `commands` start there"
                self._broken(f"it has an environment for {kind}, and no launch starts there", do)

    def test_a_declared_feature_changes_the_command(self) -> None:
        """Where an option switches it on."""
        engine, base = self._found(), self._blocks()[0]
        declared = {word for kind in engine.devices for word in engine.can(kind)}
        for feature, block in {**_by_adapters(engine), **self.feature_options}.items():
            if feature not in declared:
                self._broken(f"{dict(block)} switches on {feature}, which it does not declare", "declare it")
            if samples.said(engine, {**base, **block}) == samples.said(engine, base):
                self._broken(f"{feature} by {dict(block)} changes nothing in the command", "pass it on, or drop it")

    def test_an_undeclared_feature_is_refused(self, tmp_path: Path) -> None:
        """Before anything starts: a GGUF file, or a device that it has no environment for."""
        engine = self._found()
        asked = [("file:/m.gguf", kind, "gguf" in engine.can(kind)) for kind in ("cpu", "cuda")]
        asked += [("file:/m", kind, kind in engine.devices) for kind in ("cpu", "cuda")]
        for source, kind, declared in asked:
            model = {"engine": self.engine, "source": source, "options": self._blocks()[0]}
            file = tmp_path / "rayllm.yaml"
            model["resources"] = {"gpus": int(kind == "cuda")}
            file.write_text(json.dumps({"name": "x", "models": {"m": model}}))
            if not declared and not _problems(file):
                what = f"{source.rpartition('/')[2]} on {kind}"
                self._broken(f"it does not declare {what}, and a file may ask for that", "let `environment` be a dict")


def _problems(file: Path) -> list[str]:
    """What is wrong with the model of a file."""
    try:
        load(file, installed(), {})
    except ConfigErrors as errors:
        return [problem.message for problem in errors.problems if problem.name.startswith("models.m")]
    return []


def _by_adapters(engine: AnyEngine) -> dict[str, Mapping[str, Any]]:
    """The option that lets an engine take adapters; where there is none, another rule says so."""
    field = engine.options.model_fields.get(engine.adapters.switch) if engine.adapters else None
    return {"lora": {engine.adapters.switch: True}} if engine.adapters and field and field.annotation is bool else {}


def _commands(engine: AnyEngine, launch: Launch[Options]) -> list[Any]:
    return list(engine.commands(launch))


def _texts(commands: list[Any]) -> list[Any]:
    """Arguments and variables."""
    return [word for command in commands for word in (*command.argv, *command.env, *command.env.values())]


def _wrong_in(command: Any, *, needs_metrics: bool) -> str | None:
    """What keeps a command from being started or asked."""
    if not isinstance(command, Command):
        return f"commands() returns a {type(command).__name__} among its commands"
    if not command.argv or not command.argv[0]:
        return "a command names no program"
    if odd := [word for word in (*command.argv, *command.env, *command.env.values()) if not isinstance(word, str)]:
        return f"a command holds {odd[0]!r}, which is no text"
    for name in ("ready", "metrics"):
        path = getattr(command, name)
        if not (path is None and name == "metrics") and not str(path).startswith("/"):
            return f"Command.{name} is {path!r}, which is no path"
    return "it has gauges, and its command no `metrics` path" if needs_metrics and command.metrics is None else None
