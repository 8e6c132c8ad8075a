"""The pages that people write say what the code does: states, fields, hooks, signatures, examples and links."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ConfigDict

import rayllm
from rayllm import Adapters, Backend, Command, Engine, Environment, Options, hookspecs, testing
from rayllm.config import load
from rayllm.deployment.status import ModelStatus
from rayllm.engines import CAPABILITIES
from rayllm.plugins import Plugins
from rayllm.serving.haproxy.view import DEFAULT_MAX_BODY

ROOT = Path(__file__).parents[3]
FOLDERS = (".", "docs", "docs/*", "examples", "packages/*", "changelog.d")
PAGES = sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.md"))
CLI = (ROOT / "docs/cli.md").read_text()
PLUGINS = (ROOT / "docs/plugins.md").read_text()
PYTHON = (ROOT / "docs/python.md").read_text()
HOOKS = [name for name in vars(hookspecs) if name.startswith("rayllm_")]
CLASSES = [name for name in rayllm.__all__ if dataclasses.is_dataclass(getattr(rayllm, name))]
EVENTS = [name for name in CLASSES if issubclass(getattr(rayllm, name), rayllm.Event)]
RESULTS = [name for name in CLASSES if getattr(rayllm, name).__module__.startswith("rayllm.deployment.")]
DESCRIPTORS = [name for name in CLASSES if name not in (*RESULTS, *EVENTS)]
METHODS = [
    *(rayllm.ClusterBackend, "ensure", "find", "destroy", "deploy"),
    *(rayllm.Engine, "environment_for"),
    *(rayllm.Progress, "__call__"),
    *(rayllm.FetchProgress, "__call__"),
]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def signature(function: Any) -> str:
    """`(self, name: str) -> Cluster | None`."""
    return re.sub(r"'(?=[\w\[\]. |,]*')([^']*)'", r"\1", str(inspect.signature(function)))


def plain(page: str) -> str:
    """A page without the backslashes that a table needs."""
    return page.replace("\\|", "|")


def named(path: Path) -> str:
    """A page's name in a failure."""
    return str(path.relative_to(ROOT))


def test_every_state_of_a_model_is_on_the_page() -> None:
    """As the code's own list of them says."""
    told = re.findall(r"`(\w+)`", inspect.getsource(ModelStatus).split("state: str")[1].split("engine: str")[0])
    rows = re.findall(r"^\| `(\w+)` \|", CLI.split("\n| state | meaning |\n")[1].split("\n\n")[0], re.MULTILINE)
    assert rows == told


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_on_the_page_with_its_signature(hook: str) -> None:
    """As a plugin's author writes it."""
    assert f"`{hook}{signature(getattr(hookspecs, hook))}`" in PLUGINS


@pytest.mark.parametrize("name", rayllm.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    """In words of its own, on that of plugin authors or that of everybody else."""
    assert f"`{name}`" in PLUGINS + PYTHON or f"`rayllm.{name}`" in PLUGINS


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_every_field_of_a_descriptor_is_on_the_page(name: str) -> None:
    """All of them, in order, with type and default."""
    section = plain(PLUGINS).split(f"\n### `{name}`\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+?) \| .+ \|$", section, re.MULTILINE)
    fields = dataclasses.fields(getattr(rayllm, name))
    assert [(row[0], row[1]) for row in rows] == [(field.name, field.type) for field in fields]
    if name == "Command":
        assert f"`Command{signature(rayllm.Command)}" in section
        return
    for field, (_, _, default) in zip(fields, rows, strict=True):
        value = field.default_factory() if callable(field.default_factory) else field.default
        assert default == ("required" if value is dataclasses.MISSING else f"`{value!r}`"), field.name


@pytest.mark.parametrize("name", RESULTS)
def test_every_field_of_a_result_is_on_a_page(name: str) -> None:
    """On that of the API, or in the reference of what the commands print."""
    reference = (ROOT / "docs/reference/commands.md").read_text()
    fields = [field.name for field in dataclasses.fields(getattr(rayllm, name))]
    assert [field for field in fields if f"\n| `{field}` |" not in PYTHON + reference] == []


def test_every_method_of_the_api_is_on_the_page() -> None:
    """With all its parameters."""
    for name, method in inspect.getmembers(rayllm.RayLLM, callable):
        if not name.startswith("_"):
            row = next((line for line in PYTHON.splitlines() if re.match(rf"\| `(RayLLM\.)?{name}\(", line)), "")
            assert row, name
            called = row.split("`")[1]
            parameters = set(inspect.signature(method).parameters) - {"self", "cls"}
            assert {one for one in parameters if not re.search(rf"\b{one}\b", called)} == set(), row


@pytest.mark.parametrize("page", ["docs/gateway.md", "docs/engines/vllm.md"])
def test_a_page_tells_how_large_a_body_may_be(page: str) -> None:
    """What `gateway.max_body` is where nobody sets it, and no other limit of a request's body."""
    text = (ROOT / page).read_text()
    assert f"{DEFAULT_MAX_BODY >> 20} MiB if" in text
    assert "KiB for the whole body" not in text


@pytest.mark.parametrize("number", range(len(blocks(PYTHON, "python"))))
def test_the_pages_programs_are_python(number: int) -> None:
    """Each block is a whole program."""
    compile(blocks(PYTHON, "python")[number], f"docs/python.md block {number}", "exec")


def test_every_method_is_on_the_page_with_its_signature() -> None:
    """Of the classes that a plugin's author fills in or calls."""
    owner: Any = None
    for item in METHODS:
        if not isinstance(item, str):
            owner = item
        else:
            assert f"`{item}{signature(getattr(owner, item))}`" in plain(PLUGINS), (owner, item)
    error = signature(rayllm.RayllmError.__init__).replace("(self, ", "(")
    assert f"`RayllmError{error}`" in PLUGINS


def test_every_error_is_on_the_page_with_its_exit_status() -> None:
    """As the command line ends with it."""
    errors = [name for name in rayllm.__all__ if name.endswith("Error")]
    wanted = {name: str(getattr(rayllm, name).exit_code) for name in errors}
    assert dict(re.findall(r"^\| `(\w+Error)` \| (\d) \|", PLUGINS, re.MULTILINE)) == wanted


@pytest.mark.parametrize("number", range(len(blocks(PLUGINS, "python"))))
def test_the_examples_are_python(number: int) -> None:
    """Each block is a whole file."""
    compile(blocks(PLUGINS, "python")[number], f"docs/plugins.md block {number}", "exec")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The page's engine in a folder like site-packages, as pip would have installed it."""
    package, info = tmp_path / "rayllm_engine_echo", tmp_path / "rayllm_engine_echo-0.1.0.dist-info"
    for folder in (package, info):
        folder.mkdir()
    (engine, server) = blocks(PLUGINS, "python")[:2]
    (package / "__init__.py").write_text(engine)
    (package / "server.py").write_text(server)
    project = blocks(PLUGINS, "toml")[0]
    requires = json.loads(project.partition("dependencies = ")[2].partition("\n")[0])
    lines = ["Metadata-Version: 2.1", "Name: rayllm-engine-echo", "Version: 0.1.0"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires), ""]))
    points = project.partition("[project.entry-points.rayllm]")[2].replace('"', "")
    (info / "entry_points.txt").write_text(f"[rayllm]{points}")
    return tmp_path


def test_the_examples_own_tests_pass(example: Path) -> None:
    """Both of the page's test files, beside the installed engine; a warning is a failure."""
    tests = [block for block in blocks(PLUGINS, "python") if re.search(r"^(def|class) [Tt]est", block, re.MULTILINE)]
    alone = [block for block in tests if "local_cluster" not in block]  # that one has Ray start a cluster
    for number, block in enumerate(alone):
        (example / f"test_{number}.py").write_text(block)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAYLLM_")}
    argv = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", "-ra", "."]
    done = subprocess.run(
        argv,
        cwd=example,
        env=environ | {"PYTHONPATH": str(example)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert (len(alone), int(passed) > len(alone)) == (2, True)


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_told_when(name: str) -> None:
    """On the page; its fields stand in the reference, which is written from the code."""
    assert name == "Event" or f"\n| `{name}` | " in PLUGINS


@pytest.mark.parametrize(("number", "hook"), [(3, "rayllm_model_sources"), (4, "rayllm_backends"), (5, "rayllm_event")])
def test_the_other_examples_are_loaded(number: int, hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discovery takes the model source, the backend and the observer of the page, which writes what it is told."""
    from importlib.metadata import EntryPoint

    module = f"documented_{hook}"
    (tmp_path / f"{module}.py").write_text(blocks(PLUGINS, "python")[number])
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins.discover([EntryPoint(name="it", value=module, group="rayllm")], disabled="")
    (info,) = plugins.infos
    sys.modules.pop(module, None)
    assert (info.state, len(info.offers)) == ("loaded", 1), info.cause
    monkeypatch.setenv("HOME", str(tmp_path))
    for _, tell in plugins.observers():
        tell(event=rayllm.Removed(deployment="docs", time=1.0))
        record = (tmp_path / ".rayllm-events.jsonl").read_text()
        assert record == '{"event": "Removed", "deployment": "docs", "time": 1.0}\n'


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """To a file, and to a title in it where one is named."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, title = link.partition("#")
        target = page.parent / place if place else page
        if not re.match(r"[a-z]+:", link) and not (target.exists() and (not title or title in anchors(target))):
            broken.append(link)
    assert broken == []


def test_every_test_that_a_page_names_is_there() -> None:
    """What shows a claim can be run."""
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("packages/core/src/rayllm/testing/**/*.py")]
    tests = "\n".join(file.read_text() for file in files)
    names = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert names
    assert {name for name in names if f"def {name}(" not in tests} == set()


def test_the_page_counts_the_kits_rules() -> None:
    """As many as the classes have."""
    page = (ROOT / "docs/plugins.md").read_text()
    told = dict(re.findall(r"^\| \[`(\w+Conformance)`\].* \| (\d+) \|$", page, flags=re.MULTILINE))
    rules = {name: sum(rule.startswith("test_") for rule in dir(getattr(testing, name))) for name in told}
    assert {name: int(count) for name, count in told.items()} == rules
    assert len(rules) == 3


def anchors(page: Path) -> set[str]:
    """The names that a page's titles have in links."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Anything(Options):
    """Options of a plugin that is not installed here."""

    model_config = ConfigDict(extra="allow")
    enable_lora: bool = False
    max_loras: int = 100
    max_lora_rank: int = 100


def whole_files() -> list[tuple[str, str]]:
    """Every YAML block that is a whole file, and where it stands."""
    found = [(named(page), block) for page in PAGES for block in blocks(page.read_text(), "yaml")]
    return [(name, block) for name, block in found if re.search(r"^models:", block, re.MULTILINE) and "name:" in block]


@pytest.mark.parametrize(("page", "block"), whole_files())
def test_every_whole_file_is_right(page: str, block: str, tmp_path: Path) -> None:
    """With the plugins that are installed, and stand-ins for those that are not."""
    plugins, data = Plugins.discover(), yaml.safe_load(block)
    backend = data.get("cluster", {}).get("backend", "local")
    plugins.backends.setdefault(backend, Backend(name=backend, summary="", options=Anything, open=lambda _: None))  # type: ignore[arg-type,return-value]
    for model in data["models"].values():
        name = model["engine"]
        plugins.engines.setdefault(
            name,
            Engine(
                name=name,
                summary="",
                options=Anything,
                environment=Environment((f"{name}==1",)),
                commands=lambda launch: [Command()] * launch.nodes,
                capabilities=frozenset(CAPABILITIES),
                adapters=Adapters(load="/load", unload="/unload", room="max_loras", rank="max_lora_rank"),
            ),
        )
    file = tmp_path / "rayllm.yaml"
    file.write_text(block)
    names = ("HF_TOKEN", "RAYLLM_API_KEYS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert load(file, plugins, {name: f"{name}-of-the-page" for name in names}).config.models
