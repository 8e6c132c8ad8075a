"""What is sent to the nodes: the zip of code, and the list of what their Python environment holds."""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

from rayllm_backend_cai.bootstrap.code import node_code
from rayllm_backend_cai.bootstrap.requirements import (
    Serving,
    serving_digest,
    serving_for,
    serving_requirements,
)

ON_NODE = """
import importlib.metadata, json, sys
sys.path[:0], sys.path[len(sys.path):] = [sys.argv[1]], [sys.argv[2]]
import rayllm, rayllm_backend_cai.shared as shared
from rayllm.plugins import Plugins
points = sorted(point.name for point in importlib.metadata.entry_points(group="rayllm"))
infos = {info.name: info.state for info in Plugins.discover(heard=lambda _: None).infos}
print(json.dumps({"files": [rayllm.__file__, shared.__file__], "points": points, "infos": infos}))
"""


def test_a_node_with_it_has_the_plugins_of_core_and_of_this_backend(tmp_path: Path) -> None:
    """Its own Python has third parties' packages alone."""
    zipfile.ZipFile(io.BytesIO(node_code().content)).extractall(tmp_path)
    alone = [sys.executable, "-I", "-S", "-c", ON_NODE, str(tmp_path), sysconfig.get_path("purelib")]
    told = json.loads(subprocess.run(alone, check=True, capture_output=True, text=True).stdout)
    assert all(Path(file).is_relative_to(tmp_path) for file in told["files"])
    ours = [importlib.metadata.distribution(name) for name in ("rayllm-core", "rayllm-backend-cai")]
    points = {point.name for one in ours for point in one.entry_points if point.group == "rayllm"}
    assert points <= set(told["points"])
    assert {told["infos"][name] for name in points} == {"loaded"}


def test_the_same_code_is_the_same_zip_without_what_no_node_needs() -> None:
    """No stand-ins, commands or caches."""
    code = node_code()
    assert node_code() == code
    names = zipfile.ZipFile(io.BytesIO(code.content)).namelist()
    assert {"rayllm/plugins.py", "pluggy/__init__.py", "rayllm_backend_cai/shared.py"} <= set(names)
    assert not [name for name in names if name.startswith(("rayllm_backend_cai/testing", "rayllm/cli"))]
    assert not [name for name in names if name.endswith(".pyc")]


def test_requirements_are_third_parties_alone_and_those_of_nodes() -> None:
    """Sorted, without markers, by the names that installers know."""
    lines = serving_requirements()
    assert list(lines) == sorted(lines)
    names = [Requirement(line).name for line in lines]
    assert {"ray", "uv", "huggingface-hub", "pydantic", "tenacity", "httpx"} <= set(names)
    assert not {"pytest", "aiohttp", "psutil", "s3fs"} & set(names)  # behind other extras
    assert not [name for name in names if name.startswith("rayllm")]
    assert not [line for line in lines if ";" in line]


def test_another_list_or_python_is_another_environment() -> None:
    """It lies beside, under a name of its own."""
    lists = [("a==1",), ("a==2",), ("a==1", "b")]
    digests = [serving_digest(one, python) for one in lists for python in ("3.10", "3.11")]
    assert len(set(digests)) == 6
    assert Serving(python="3.11", requirements=("a==1",)).digest == digests[1]
    assert serving_for("3.11").requirements == serving_requirements("3.11")
