"""Tiny distributions, laid down as installers lay them: from a wheel, and editable in each way there is."""

from __future__ import annotations

import site
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KINDS = ("wheel", "source folder", "import hook", "project folder", "unrecorded")
FINDER = """
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

MAPPING = {mapping!r}

class Finder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        first, *rest = fullname.split(".")
        for candidate in MAPPING.get(first, ()):
            place = Path(candidate, *rest)
            for file in (place / "__init__.py", place.with_suffix(".py")):
                if file.is_file():
                    return spec_from_file_location(fullname, file)
        return None

def install():
    sys.meta_path.append(Finder)
"""
"""What setuptools writes, in short."""


@dataclass(frozen=True)
class Site:
    """A folder of installed distributions, and one of their projects."""

    folder: Path
    projects: Path

    def install(
        self,
        kind: str,
        name: str,
        files: Mapping[str, str | bytes],
        *points: str,
        requires: Iterable[str] = (),
        version: str = "0.3.1",
    ) -> Path:
        """Install a distribution; returns the folder of its code.

        Args:
            kind: one of `KINDS`.
            name: the distribution's.
            files: its code, by path.
            points: its entry points: `engine-far = travelling`.
            requires: lines of Requires-Dist.
            version: its version.
        """
        project = self.projects / name
        place = {"source folder": project / "src", "import hook": project, "project folder": project}.get(kind)
        code = place or self.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (code / path).parent.mkdir(parents=True, exist_ok=True)
            (code / path).write_bytes(content.encode() if isinstance(content, str) else content)
        tops = sorted({path.partition("/")[0].removesuffix(".py") for path in files if not path.startswith("tests/")})
        module = f"__editable___{name.replace('-', '_')}_finder"
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        record = [f"{info.name}/METADATA", f"{info.name}/RECORD", "../../../bin/far"]
        if kind == "wheel":
            record += files
        elif kind in {"source folder", "project folder"}:
            (self.folder / f"_{name}.pth").write_text(str(code))
            record.append(f"_{name}.pth")
        elif kind == "import hook":
            mapping = {top: [str(code / top)] for top in tops}
            (self.folder / f"{module}.py").write_text(FINDER.format(mapping=mapping))
            (self.folder / f"__editable__.{name}.pth").write_text(f"import {module}; {module}.install()")
            record += [f"__editable__.{name}.pth", f"{module}.py"]
        if place:
            (project / "pyproject.toml").write_text("")
            (code / f"{name}.egg-info").mkdir()
            (code / f"{name}.egg-info/PKG-INFO").write_text("")
        info.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        (info / "entry_points.txt").write_text("\n".join(["[rayllm]", *points, ""]))
        if kind != "unrecorded":
            (info / "RECORD").write_text("".join(f"{path},,\n" for path in record))
        if kind not in {"wheel", "source folder"}:
            (info / "top_level.txt").write_text("\n".join(tops))
        site.addsitedir(str(self.folder))  # reads the .pth files, as a Python does when it starts
        return code
