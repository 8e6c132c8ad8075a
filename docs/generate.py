"""Write `docs/reference/` anew from the code: `python -m docs.generate`, or `nox -s docs`; with `--check`, compare.

A plugin's page is written where that plugin is installed. What a page needs stands in the code alone: a command's
docstring and options, a field's docstring, type, default and bounds.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from docs.class_tables import fields_table
from docs.commands_page import commands_page
from docs.kit_page import kit_page
from docs.page_parts import NOTE, capabilities_page, first_paragraph, joined
from docs.schema_tables import model_blocks

from rayllm import events, hookspecs
from rayllm.config.json_schema import block_schema
from rayllm.config.schema import DeploymentConfig
from rayllm.engines import Options
from rayllm.events import Event
from rayllm.plugins import PluginInfo, Plugins

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference"


def pages(plugins: Plugins) -> dict[Path, str]:
    """Every page that can be written here, by its path."""
    found = {REFERENCE / "commands.md": commands_page(), REFERENCE / "configuration.md": configuration_page(plugins)}
    found |= {REFERENCE / "hooks.md": hooks_page(), REFERENCE / "kit.md": kit_page()}
    for info in plugins.infos:
        if info.state == "loaded" and info.distribution != "rayllm-core" and (ROOT / "packages" / info.name).is_dir():
            lines = [f"# Options of `{info.name}`", NOTE, *options_of(plugins, info)]
            found[REFERENCE / f"{info.name}.md"] = joined(lines)
    ours = sorted(path.name.removeprefix("engine-") for path in (ROOT / "packages").glob("engine-*"))
    if set(ours) <= set(plugins.engines):
        found[REFERENCE / "engines.md"] = capabilities_page([plugins.engines[name] for name in ours])
    return found


def hooks_page() -> str:
    """Every hook as `rayllm.hookspecs` tells it, and every event."""
    about = (
        "Every hook: its signature, when it is called, how results combine, and a whole module that implements it. "
        "[The page for plugin authors](../plugins.md) has the descriptors, and tells how a plugin is made."
    )
    blocks = ["# Reference of the hooks", NOTE, about]
    for name, hook in ((name, hook) for name, hook in vars(hookspecs).items() if name.startswith("rayllm_")):
        signature = str(inspect.signature(hook)).replace("'", "")
        blocks += [f"## `{name}`", f"```python\n{name}{signature}\n```", inspect.cleandoc(hook.__doc__ or "")]
    blocks += ["## The events", first_paragraph(Event), fields_table(Event)]
    blocks += [f"`to_json()` of each: {first_paragraph(Event.to_json)}"]
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    for kind in kinds[kinds.index(Event) + 1 :]:
        blocks += [f"### `{kind.__name__}`", first_paragraph(kind), fields_table(kind)]
    return joined(blocks)


def configuration_page(plugins: Plugins) -> str:
    """Every key of a file that is core's."""
    about = (
        "Every key of a file. How the file is read, and what a mistake looks like, is on [the page about the "
        "configuration file](../configuration.md). `rayllm schema` prints the same as JSON Schema, for editors."
    )
    blocks = ["# Reference of the configuration file", NOTE, about]
    blocks += model_blocks(block_schema(DeploymentConfig), "The file")
    core = next(info for info in plugins.infos if info.distribution == "rayllm-core")
    projects = sorted((ROOT / "packages").glob("*/pyproject.toml"))
    plugged = [file.parent.name for file in projects if "[project.entry-points.rayllm]" in file.read_text()]
    others = [name for name in plugged if name != "core"]
    blocks += options_of(plugins, core)
    links = "\n".join(f"- [`{name}`]({name}.md)" for name in others)
    return joined([*blocks, "## Options of other plugins", links])


def options_of(plugins: Plugins, info: PluginInfo) -> Iterator[str]:
    """The options of what one plugin offers."""
    for offer in info.offers:
        kind, _, name = offer.partition(" ")
        if kind in {"engine", "backend"}:
            options: type[Options] = (plugins.engines if kind == "engine" else plugins.backends)[name].options
            place = "models.NAME.options" if kind == "engine" else "cluster.options"
            yield from model_blocks(block_schema(options), f"`{place}` with `{kind}: {name}`", place)


def main() -> None:
    """Write the pages, or with `--check` tell which are not as the code says."""
    check = sys.argv[1:] == ["--check"]
    stale = {path: page for path, page in pages(Plugins.discover(disabled="")).items() if page != current(path)}
    if check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise SystemExit(f"{names}: not what the code says; run: nox -s docs (or python -m docs.generate)")
    for path, page in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def current(path: Path) -> str:
    """What the page says now."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    main()
