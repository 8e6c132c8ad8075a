"""Everything the project does with itself. `nox` alone is the whole test run, `nox -l` lists the rest.

Each session has an environment of its own. The cells are computed from the folders under `packages/`: a new
distribution needs no line here.
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
PACKAGES = [path.parent for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
CORE = ROOT / "packages/core"
FAKE_ENGINE = ROOT / "tests/plugins/rayllm-engine-fake"
CONSTRAINTS = "requirements/constraints.txt"
CORE_MIB = 40
"""What `pip install rayllm-core` may bring into a bare environment."""
NOT_IN_CORE = {"ray", "torch", "vllm", "sglang", "transformers", "numpy"}

nox.options.sessions = ["lint", *(f"tests-{path.name}" for path in PACKAGES), "wheels", "integration", "e2e"]


@functools.cache
def uv_settings() -> dict[str, str]:
    """Pip's own settings as uv reads them, so that a machine set up for pip alone works with uv too."""
    told: dict[str, str] = {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for key, _, value in (line.partition("=") for line in listed.stdout.splitlines()):
        told[key.rpartition(".")[2]] = ast.literal_eval(value)
    lists = [
        ("extra-index-url", "UV_INDEX", " "),
        ("find-links", "UV_FIND_LINKS", ","),
        ("constraint", "UV_CONSTRAINT", " "),
    ]
    settings = {name: glue.join(told[key].split()) for key, name, glue in lists if key in told}
    plain = [("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE"), ("trusted-host", "UV_INSECURE_HOST")]
    settings |= {name: told[key] for key, name in plain if key in told}
    if "UV_INDEX" in settings:  # pip takes the best version of all indexes, uv would stop at the first that has any
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def install(session: nox.Session, *what: str | Path) -> None:
    """Install into the session's environment, at the versions in `requirements/`; folders as editable."""
    args = [part for item in what for part in (("-e", str(item)) if isinstance(item, Path) else (item,))]
    session.install("-c", CONSTRAINTS, *args, env=uv_settings())


def pytest(session: nox.Session, folder: str) -> None:
    """Run the tests of `folder`, or those that were named after `--`."""
    named = any((ROOT / arg.partition("::")[0]).exists() for arg in session.posargs)
    session.run("pytest", *([] if named else [folder]), *session.posargs)


def kept_home(session: nox.Session) -> str:
    """Where engines' environments and weights stay from run to run, apart from those of the person who runs this."""
    return str(Path(session.cache_dir).absolute() / "rayllm-home")


def cell(package: Path) -> None:
    """Define the session with the unit tests of one distribution, beside core and nothing else."""

    def run(session: nox.Session) -> None:
        install(session, *dict.fromkeys((CORE, package)), "jsonschema", "pytest")
        pytest(session, f"tests/unit/{package.name}")

    run.__doc__ = f"Unit tests of rayllm-{package.name}, beside core alone."
    nox.session(name=f"tests-{package.name}", tags=["tests"])(run)


for path in PACKAGES:
    cell(path)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Serve a small real model with vLLM and ask it something."""
    install(session, CORE, ROOT / "packages/engine-vllm", ROOT / "packages/backend-local", "openai")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session(tags=["tests"])
def integration(session: nox.Session) -> None:
    """Real Ray and real HAProxy around the fake engine."""
    clients = ("anthropic", "h2", "openai", "websockets")
    install(session, CORE, ROOT / "packages/backend-local", FAKE_ENGINE, *clients, "matplotlib", "pytest")
    pytest(session, "tests/integration")


@nox.session(tags=["tests"])
def e2e(session: nox.Session) -> None:
    """A real engine behind it all, asked by the OpenAI client."""
    install(
        session, CORE, ROOT / "packages/engine-vllm", ROOT / "packages/backend-local", "anthropic", "openai", "pytest"
    )
    session.env["RAYLLM_TEST_HOME"] = kept_home(session)
    pytest(session, "tests/e2e")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and changelog fragments."""
    imported = ("anthropic", "h2", "openai", "pytest", "types-pyyaml", "websockets")
    install(session, *PACKAGES, *imported, "mypy", "nox", "ruff", "towncrier")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run(
        "mypy", *(str(path / "src") for path in PACKAGES), "noxfile.py", "docs/generate.py", "benchmarks", "examples"
    )
    for folder in sorted({path.parent for path in ROOT.glob("tests/*/*/*.py")}):  # apart: their files may share names
        session.run("mypy", str(folder))
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build all wheels; core's alone stays small, and all together work from another directory."""
    install(session, "build", "hatchling")
    place = Path(session.create_tmp()).absolute()
    for path in place.glob("dist/*"):
        path.unlink()
    for package in PACKAGES:
        session.run(
            "python", "-m", "build", "--no-isolation", "--outdir", str(place / "dist"), str(package), silent=True
        )
    built = {path.name.partition("-")[0]: str(path) for path in place.glob("dist/*.whl")}
    python = bare_environment(session, place / "bare")
    before = size_of(place / "bare")
    pip_install(session, python, built.pop("rayllm_core"))
    added = (size_of(place / "bare") - before) / 2**20
    heavy = NOT_IN_CORE & set(installed(session, python))
    if heavy or added > CORE_MIB:
        session.error(
            f"rayllm-core alone brings {added:.1f} MiB (at most {CORE_MIB}), with {sorted(heavy) or 'nothing heavy'}"
        )
    session.log(f"rayllm-core alone: {added:.1f} MiB")
    rayllm = str(Path(python).with_name("rayllm"))
    with session.chdir(place):
        session.run(rayllm, "--version", external=True)
        pip_install(session, python, *built.values())
        listed = json.loads(session.run(rayllm, "plugins", "--json", external=True, silent=True) or "")
    states = {row["name"]: row["state"] for row in listed}
    if states != {package.name: "loaded" for package in PACKAGES}:
        session.error(f"not every wheel's plugin works: {listed}")
    pip_install(session, python, str(FAKE_ENGINE))
    serve_from_elsewhere(session, rayllm, place)


def serve_from_elsewhere(session: nox.Session, rayllm: str, place: Path) -> None:
    """Serve a fake engine with what was installed from wheels, in a folder that knows nothing of the sources."""
    folder = place / "else where"
    folder.mkdir(exist_ok=True)
    (folder / "rayllm.yaml").write_text(
        "name: wheels\nmodels: {m: {engine: fake, source: /, resources: {cpus: 0.5}}}\ngateway: {port: 18642}\n"
    )
    env = {"RAYLLM_HOME": str(folder / "home")}
    with session.chdir(folder):
        try:
            session.run(rayllm, "up", env=env, external=True)
            said = session.run(rayllm, "plan", env=env, external=True, silent=True) or ""
        finally:
            session.run(rayllm, "down", "--yes", env=env, external=True)
    if "No changes" not in said:
        session.error(f"after `up` there is still something to do: {said}")


def bare_environment(session: nox.Session, place: Path) -> str:
    """A new environment with pip and nothing else; returns its Python."""
    session.run(sys.executable, "-m", "venv", "--clear", str(place), external=True)
    return str(place / "bin/python")


def pip_install(session: nox.Session, python: str, *what: str) -> None:
    """Install as a person does, with pip."""
    constraints = str(ROOT / CONSTRAINTS)
    session.run(python, "-m", "pip", "install", "-q", "-c", constraints, *what, external=True, silent=True)


def installed(session: nox.Session, python: str) -> dict[str, str]:
    """Names and versions of what an environment holds."""
    listed = session.run(python, "-m", "pip", "list", "--format", "json", external=True, silent=True)
    return {row["name"]: row["version"] for row in json.loads(listed or "")}


def size_of(folder: Path) -> int:
    """Bytes of all files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure RayLLM beside the same engine by hand and beside other gateways; write the pages that show it."""
    brought = (CORE, ROOT / "packages/engine-vllm", ROOT / "packages/backend-local", FAKE_ENGINE)
    install(session, *brought, "matplotlib")
    session.env["RAYLLM_HOME"] = kept_home(session)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Keep the gateway at saturation for half an hour (or `-- SECONDS`), and write docs/reports/gateway-soak.md."""
    install(session, CORE, ROOT / "packages/backend-local")
    session.env["RAYLLM_HOME"] = kept_home(session)
    session.run("python", "-m", "benchmarks.gateway.soak", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write docs/reference anew from the code."""
    install(session, *PACKAGES)
    session.run("python", "docs/generate.py", *session.posargs)


@nox.session(default=False)
def arguments(session: nox.Session) -> None:
    """Compare the lists of engines' arguments with the engines; `-- --write` corrects them, `-- cpu` asks one."""
    engines = [path for path in PACKAGES if path.name.startswith("engine-")]
    install(session, CORE, *engines, "uv")
    home = str(Path(session.cache_dir).absolute() / "rayllm-home")
    session.run("python", "-m", "rayllm.serving.prepare.pinned_arguments", *session.posargs, env={"RAYLLM_HOME": home})


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write the exact versions anew that every session installs."""
    session.install("uv")
    sources = [str(path.relative_to(ROOT) / "pyproject.toml") for path in PACKAGES]
    how = ["--universal", "--python-version=3.10", "--upgrade", "--no-annotate", "--no-header"]
    ours = [f"--no-emit-package=rayllm-{path.name}" for path in PACKAGES]
    what = [*sources, "requirements/tools.in", f"--output-file={CONSTRAINTS}"]
    session.run("uv", "pip", "compile", *how, *ours, *what, env={"UV_PYTHON_DOWNLOADS": "never"}, silent=True)
