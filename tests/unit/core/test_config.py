"""Checking a file: what a right one gives, and what all errors have in common."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayllm import Options
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker, Site


def test_a_right_file(check: Checker) -> None:
    """The config, and every plugin's options as that plugin's type."""
    result = check.right(
        "name: demo\ncluster: {backend: cai, options: {nodes: 2, token: '${env:T}'}}\n"
        "models:\n  m:\n    engine: vllm\n    source: /a/b\n"
        "    options: {stop: [x, y], kind: large, folder: /f, share: 1}\n"
        "    replicas: {min: 0, max: 2}\n    resources: {memory: 8GiB}\n    environment: /opt/env\n"
        "gateway: {host: localhost, port: 1}\n",
        {"T": "secret"},
    )
    assert result.backend is check.plugins.backends["cai"]
    assert result.backend_options == result.backend.options(nodes=2, token="secret")
    options = result.engine_options["m"].model_dump(mode="json", exclude_unset=True)
    assert options == {"stop": ["x", "y"], "kind": "large", "folder": "/f", "share": 1.0}
    assert result.config.models["m"].resources.memory == 8 << 30
    assert result.from_environment == {("cluster", "options", "token"): "${env:T}"}
    assert result.path == Path("f")


def test_the_shortest_right_file(check: Checker) -> None:
    """A name and a model; the rest has defaults."""
    result = check.right("name: demo\nmodels: {m: {engine: vllm, source: /m}}\n")
    assert (result.backend.name, result.backend_options) == ("local", Options())
    assert (result.config.gateway.host, result.config.gateway.port) == ("127.0.0.1", 8000)


def test_all_mistakes_at_once_in_the_files_order(check: Checker) -> None:
    """Schema, plugins' options, unknown names and duplicate keys together."""
    lines = check.mistakes(
        "name: d\nname: d\nmodels:\n  a: {engine: vlm, source: x:y, options: {any: 1}}\n"
        "  b: {engine: sglang, source: /m, options: {any: 1}, drain_s: -1}\ngateway: {host: example.org}\n",
    )
    assert [line.split("  ")[0] for line in lines if line.startswith("f:")] == [
        "f:2:1",
        "f:4:15",
        "f:4:28",
        "f:5:45",
        "f:5:63",
        "f:6:1",
    ]


def test_a_broken_plugin_may_be_the_cause(site: Site, check: Checker) -> None:
    """Who is broken or switched off is named beside the missing engine."""
    site.add("engine-vllm", "raise ImportError('x')")
    site.add("backend-local", "")
    source = EntryPoint(name="core", value="rayllm.builtin", group="rayllm")
    check.plugins = Plugins.discover([*site.points(), source], disabled="backend-local,core")
    lines = check.mistakes("name: d\nmodels: {m: {engine: vllm, source: /m}}\n")
    cure = (
        "→ broken: engine-vllm (rayllm-engine-vllm 0.3.1);"
        " disabled: core, backend-local (rayllm-backend-local 0.3.1); rayllm plugins tells why"
    )
    assert lines == [
        'f:1:1  cluster.backend: no backend "local"   installed: none',
        f"       {cure}",
        'f:2:22  models.m.engine: no engine "vllm"   installed: none',
        f"        {cure}",
        'f:2:36  models.m.source: no model source "file"   schemes: none',
    ]


def test_nothing_is_installed(check: Checker) -> None:
    """Core alone has no engine: what brings one is named."""
    check.plugins = Plugins.discover([EntryPoint(name="core", value="rayllm.builtin", group="rayllm")])
    lines = check.mistakes(
        "name: d\ncluster: {backend: ray, options: {address: 'http://a:1'}}\nmodels: {m: {engine: vllm, source: /m}}"
    )
    assert lines == [
        'f:3:22  models.m.engine: no engine "vllm"   installed: none',
        "        → pip install rayllm-engine-vllm",
    ]


LEAKS = {
    "text for a number": "engine: vllm, source: /m, drain_s: '${env:S}'",
    "name of an engine": "engine: '${env:S}', source: /m",
    "source": "engine: vllm, source: 'x${env:S}:b'",
    "environment": "engine: vllm, source: /m, environment: '${env:S}'",
    "choice": "engine: vllm, source: /m, options: {dtype: '${env:S}'}",
    "plugin's own words": "engine: vllm, source: /m, options: {token: 'a ${env:S}'}",
    "plugin's own crash": "engine: vllm, source: 'package:${env:S}crash'",
    "plugin's own crash in options": "engine: vllm, source: /m, options: {token: '${env:S}crash'}",
}


@pytest.mark.parametrize("case", LEAKS)
def test_a_variables_value_is_in_no_error(check: Checker, case: str) -> None:
    """The reference as written stands for it."""
    content = f"{{name: d, models: {{m: {{{LEAKS[case]}}}}}}}"
    text = "\n".join(check.mistakes(content, {"S": "hunt'\\er2"}))
    assert "hunt" not in text
    assert "${env:S}" in text


def test_a_variable_in_a_model_is_refused(check: Checker) -> None:
    """Its value would stand in Serve's config."""
    (line, cure) = check.mistakes("name: d\nmodels: {m: {engine: vllm, source: '/${env:S}'}}\n", {"S": "m"})
    assert line.startswith("f:2:36  models.m.source: /${env:S} may not stand here")
    assert "→" in cure


@pytest.mark.parametrize("name", ["rayllm", "gateway"])
def test_a_model_can_not_have_the_gateways_name(check: Checker, name: str) -> None:
    """Two applications would have one name."""
    (line, _) = check.mistakes(f"name: d\nmodels: {{{name}: {{engine: vllm, source: /m}}}}\n")
    assert f'"{name}" names the gateway' in line


def test_an_engine_may_find_fault_with_a_launch(check: Checker) -> None:
    """What it would refuse on the node is said before anything starts."""
    lines = check.mistakes("name: d\nmodels: {m: {engine: vllm, source: /m, options: {dtype: float32}}}\n")
    assert lines == ["f:2:49  models.m.options: this dtype needs a GPU", "        → resources.gpus: 1"]


def test_an_engine_that_breaks_on_a_launch(check: Checker) -> None:
    """The plugin's fault is one of the file's problems, in the exception's own words."""
    lines = check.mistakes("name: d\nmodels: {m: {engine: vllm, source: /m, options: {token: lost}}}\n")
    wrong = "plugin engine-vllm can't tell how it would be started: KeyError: 'cuda'"
    cure = "fix it, or name another engine; more: rayllm plugins doctor engine-vllm"
    assert lines == [f"f:2:49  models.m.options: {wrong}", f"        → {cure}"]


@pytest.mark.parametrize("source", ["/m/tiny.gguf", "package:a/tiny.Q4.GGUF"])
def test_a_gguf_file_is_for_engines_that_serve_it(check: Checker, source: str) -> None:
    """Refused before anything is fetched or started, unless the engine declares `gguf`."""
    content = f"name: d\nmodels: {{m: {{engine: sglang, source: {source}}}}}\n"
    assert check.mistakes(content) == [
        'f:2:38  models.m.source: engine "sglang" can\'t do "gguf" on cpu   installed engines that can: vllm',
        "        → name one of these engines, or name a folder in Hugging Face layout",
    ]
    assert check.right(content.replace("sglang", "vllm")).config.models["m"].source == source


def test_a_variable_that_is_not_set_is_one_problem(check: Checker) -> None:
    """What the unreplaced text looks like is no second one."""
    lines = check.mistakes("name: d\nmodels: {m: {engine: '${env:NOPE}', source: /m}}\n")
    assert lines == ["f:2:22  models.m.engine: the environment variable NOPE is not set", "        → export NOPE=…"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_hosts_are_accepted(check: Checker, host: str) -> None:
    """Every way to write this machine alone."""
    content = f"name: d\nmodels: {{m: {{engine: vllm, source: /m}}}}\ngateway: {{host: '{host}'}}\n"
    assert check.right(content).config.gateway.host == host
