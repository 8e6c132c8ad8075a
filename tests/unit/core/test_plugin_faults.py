"""A plugin that was loaded and fails when it is used: named with distribution and version, with cause and way out."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.core.test_isolation import rayllm

from rayllm import Cluster, ClusterError, PluginError
from rayllm.api import RayLLM, silent
from rayllm.config import ConfigErrors
from rayllm.machine.doctor import ask, examine
from rayllm.plugin_faults import blaming
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

ENGINE = """
    import sys
    from pydantic import field_validator
    from rayllm import Command, Engine, Environment, Options, hookimpl

    class Some(Options):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _checked(cls, size):
            return size if size != 7 else {}

    def commands(launch):
        {}

    @hookimpl
    def rayllm_engines():
        yield Engine(name="odd", summary="", options=Some, environment=Environment(()), commands=commands)
"""
SOURCE = """
    import sys
    from rayllm import ModelSource, hookimpl

    @hookimpl
    def rayllm_model_sources():
        yield ModelSource(scheme="odd", summary="", check=lambda uri: {}, fetch=lambda *_: None)
"""
BACKEND = """
    import sys
    from rayllm import Backend, ClusterBackend, ClusterError, Options, hookimpl

    class Some(Options):
        token: str = ""

    class Odd(ClusterBackend):
        def __init__(self, options):
            self.options = options

        def ensure(self, *given):
            {}

        find = destroy = deploy = ensure

    def open_it(options):
        {}

    @hookimpl
    def rayllm_backends():
        yield Backend(name="odd", summary="", options=Some, open=open_it)
"""
FILE = """
name: demo
models: {m: {engine: odd, source: /m, options: {size: 7}}}
cluster: {backend: ray, options: {address: http://h:1}}
"""
CURE = "upgrade or uninstall rayllm-odd, or name another {}; more: rayllm plugins doctor {}-odd"
COMMANDS = {
    "sys.exit(4)": "SystemExit: 4 (made_up_odd.py, line 15)",
    "raise KeyError('x')": "KeyError: 'x' (made_up_odd.py, line 15)",
    "return ['not a command']": "commands() returned ['not a command'], where a sequence of Command is wanted",
    "return []": "commands() returned [], where a sequence of Command is wanted",
    "return Command()": "commands() returned Command, where a sequence of Command is wanted",
    "return None": "commands() returned NoneType, where a sequence of Command is wanted",
}


@pytest.mark.parametrize("does", COMMANDS)
def test_commands_that_fail_when_a_file_is_checked(site: Site, tmp_path: Path, does: str) -> None:
    """Or return what no process can be started from: a problem of the file, on stdout as JSON, on stderr in words."""
    site.add("odd", ENGINE.format("size", does), point="engine-odd")
    (tmp_path / "rayllm.yaml").write_text(FILE)
    done = rayllm(site, tmp_path, "validate", "--json")
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["name"] == "models.m.options"
    told = f"plugin engine-odd (rayllm-odd 0.3.1) can't tell how it would be started: {COMMANDS[does]}"
    assert (problem["message"], problem["cure"]) == (told, CURE.format("engine", "engine"))
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("check", "cause"),
    [
        ("sys.exit(4)", "SystemExit: 4 (made_up_odd.py, line 7)"),
        ("uri.nothing", "AttributeError: 'str' object has no attribute 'nothing' (made_up_odd.py, line 7)"),
        ("True", "check() returned bool, where a text or None is wanted"),
    ],
)
def test_what_else_a_file_is_checked_with(site: Site, tmp_path: Path, check: str, cause: str) -> None:
    """A source's check and a rule of an engine's options, both at once: neither hides the other."""
    site.add("odd", SOURCE.format(check), point="source-odd")
    site.add("rule", ENGINE.format("sys.exit(5)", "return [Command()]"), point="engine-odd")
    (tmp_path / "rayllm.yaml").write_text(FILE.replace("/m", "odd:m"))
    done = rayllm(site, tmp_path, "validate", "--json")
    found = {problem["name"]: problem["message"] for problem in json.loads(done.stdout)["problems"]}
    assert found == {
        "models.m.source": f"plugin source-odd (rayllm-odd 0.3.1) can't check this: {cause}",
        "models.m.options": (
            "plugin engine-odd (rayllm-rule 0.3.1) can't check this: SystemExit: 5 (made_up_rule.py, line 12)"
        ),
    }


@pytest.fixture
def opened(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RayLLM]:
    """Open a file with a backend that does as told when it is opened, and when it is called."""
    monkeypatch.chdir(tmp_path)

    def make(does: str, at_open: str = "return Odd(options)") -> RayLLM:
        site.add("odd", BACKEND.format(does, at_open), point="backend-odd")
        site.add("engine", ENGINE.format("size", "return [Command()]"), point="engine-odd")
        Path("rayllm.yaml").write_text(
            "name: demo\nmodels: {m: {engine: odd, source: /m}}\n"
            "cluster: {backend: odd, options: {token: '${env:T}'}}\nsecrets: {HF: {env: HF}}\n"
        )
        environ = {"T": "t0ken", "HF": "hf_x"}
        return RayLLM.from_file("rayllm.yaml", environ=environ, plugins=Plugins.discover(disabled=""))

    return make


OPENS = {
    "raise TypeError('it')": "TypeError: it (made_up_odd.py, line 18)",
    "sys.exit()": "SystemExit (made_up_odd.py, line 18)",
    "return None": "it returned NoneType, where a ClusterBackend is wanted",
    "raise TypeError(options.token)": "TypeError: … (made_up_odd.py, line 18)",
}


@pytest.mark.parametrize("at_open", OPENS)
def test_a_backend_that_can_not_be_opened(opened: Callable[..., RayLLM], at_open: str) -> None:
    """What came from the environment stands in no error."""
    with pytest.raises(PluginError) as caught:
        opened("pass", at_open)
    error = caught.value
    assert error.message == "plugin backend-odd (rayllm-odd 0.3.1) failed in open()"
    assert (error.cause, error.cure) == (OPENS[at_open], CURE.format("backend", "backend"))


CALLS = {
    "raise TypeError('it')": "TypeError: it (made_up_odd.py, line 13)",
    "sys.exit(3)": "SystemExit: 3 (made_up_odd.py, line 13)",
    "raise OSError(str(getattr(given[0], 'secrets', 'it')))": "OSError: ",
    "return 'a cluster'": "it returned str, where a Cluster",
}


@pytest.mark.parametrize("does", CALLS)
@pytest.mark.parametrize("function", ["ensure", "find"])
def test_a_backend_that_fails_when_it_is_called(opened: Callable[..., RayLLM], function: str, does: str) -> None:
    """The same; a secret of the file is in no error, and the exception itself is kept for a program."""
    session = opened(does).session
    calls: dict[str, Callable[[], Any]] = {"ensure": lambda: session.ensure(silent), "find": session.find}
    with pytest.raises(PluginError) as caught:
        calls[function]()
    error = caught.value
    assert error.message == f"plugin backend-odd (rayllm-odd 0.3.1) failed in {function}()"
    assert (str(error.cause).startswith(CALLS[does]), error.cure) == (True, CURE.format("backend", "backend"))
    assert "hf_x" not in str(error)
    assert error.__cause__ is not None


def test_the_other_functions_of_a_backend(opened: Callable[..., RayLLM]) -> None:
    """Removing a cluster, and a way of its own to hand Serve its config; what they return is nobody's business."""
    session = opened("raise TypeError('it')").session
    cluster = Cluster(name="demo", dashboard_url="http://h:1", gateway_url="")
    with pytest.raises(PluginError, match=r"failed in destroy\(\)"):
        session.destroy(silent)
    with pytest.raises(PluginError, match=r"failed in deploy\(\)"):
        session.deploy(cluster, {})


@pytest.mark.parametrize("error", [ClusterError("it is away"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_what_has_words_of_its_own_stays(error: BaseException) -> None:
    """An error that the backend foresaw, a person's interrupt, a full disk."""
    with pytest.raises(type(error)) as caught, blaming(Plugins(), ("backend", "odd"), "failed"):
        raise error
    assert caught.value is error


def test_a_fault_of_core_is_no_plugins() -> None:
    """It is a bug of ours, with its traceback."""
    with pytest.raises(TypeError), blaming(Plugins.discover(disabled="*"), ("backend", "ray"), "failed"):
        raise TypeError


def test_an_engine_that_refuses_an_option_in_words(site: Site, tmp_path: Path) -> None:
    """A `RayllmError` of its own is what is wrong with the file."""
    refuses = "exec('from rayllm import InputError; raise InputError(\\'no 7\\', cure=\\'take 8\\')')"
    site.add("odd", ENGINE.format(refuses, "return [Command()]"), point="engine-odd")
    (tmp_path / "rayllm.yaml").write_text(FILE)
    with pytest.raises(ConfigErrors) as caught:
        RayLLM.from_file(tmp_path / "rayllm.yaml", plugins=Plugins.discover(disabled=""))
    (problem,) = caught.value.problems
    assert (problem.name, problem.message, problem.cure) == ("models.m.options", "no 7", "take 8")


def test_doctor_tells_of_a_backend_that_can_not_be_opened(opened: Callable[..., RayLLM]) -> None:
    """And of everything else."""
    file = opened("pass").session.checked.path
    plugins = Plugins.discover(disabled="")
    plugins.backends["odd"] = replace(plugins.backends["odd"], open=lambda _: None)  # type: ignore[arg-type,return-value]
    checks = {check.name: check for check in examine(file, plugins, {"T": "t0ken", "HF": "hf_x"}, named=True)}
    assert checks["cluster"].state == "fail"
    assert checks["cluster"].detail.startswith(
        "plugin backend-odd (rayllm-odd 0.3.1) failed in open(): it returned None"
    )
    assert "platform" in checks


def test_a_check_that_ends_the_process() -> None:
    """It ends itself, and is told of at once."""
    (check,) = ask({"engine odd": lambda: sys.exit(3)})
    assert (check.name, check.state) == ("engine odd", "warn")
    assert check.detail == "this check itself failed: SystemExit: 3"
