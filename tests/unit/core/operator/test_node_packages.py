"""What a plugin may require beside itself, so that its code works on a node."""

from __future__ import annotations

import pytest
from tests.distributions import Site

from rayllm.cluster.bundle import build
from rayllm.errors import PluginError

FAR = "rayllm-engine-far"
CODE: dict[str, str | bytes] = {"travelling/__init__.py": ""}


def install(installed: Site, *requires: str) -> None:
    """A plugin that requires this."""
    installed.install("wheel", FAR, CODE, "engine-far = travelling", requires=requires)


@pytest.mark.parametrize(
    "line",
    [
        "rayllm-core>=0.1,<0.2",
        "rayllm-core[serve]",
        "RayLLM_Core",
        "pydantic>=2.10,<3",
        "typing_extensions; python_version < '3.13'",
        "PyYAML",
        "ray[serve]>=2.60",
        "httpx>=0.28; extra == 'operator'",
        "pywin32; sys_platform == 'win32'",
        "colorama; platform_system == 'Windows' or os_name == 'nt'",
        "tomli; python_version < '3'",
    ],
)
def test_what_a_node_has_anyway(installed: Site, line: str) -> None:
    """What ray[serve] brings and core; what a marker or an extra rules out is nobody's need."""
    install(installed, line)
    assert FAR in build([FAR]).versions


@pytest.mark.parametrize(
    "line",
    [
        "httpx>=0.28",
        "boto3; sys_platform == 'linux'",
        "tomli; python_version >= '3'",
        "pydantic[email]",
        "rayllm-engine-other",
    ],
)
def test_what_no_node_has(installed: Site, line: str) -> None:
    """Also where an extra of a package that is there takes another, and where another plugin would have to come."""
    install(installed, "rayllm-core>=0.1", line)
    with pytest.raises(PluginError, match=r"rayllm-engine-far 0\.3\.1 can't be sent to the nodes: it requires"):
        build([FAR])


def test_the_refusal(installed: Site) -> None:
    """All of it at once, why, and the two ways out."""
    install(installed, "httpx>=0.28", "pydantic", "boto3[crt]")
    with pytest.raises(PluginError) as caught:
        build([FAR])
    assert str(caught.value) == (
        "rayllm-engine-far 0.3.1 can't be sent to the nodes: it requires boto3[crt], httpx>=0.28\n"
        "  cause  a node has what ray[serve] brings, and the code of rayllm-core and of the model's own plugins\n"
        "  do     name what the engine's process needs in its `environment`; put what only this machine needs, or what "
        "your nodes have anyway, behind an extra\n"
        "  more   rayllm explain plugin-code"
    )


def test_a_plugin_that_travels_along(installed: Site) -> None:
    """The engine may require the source's distribution, where a model uses both."""
    install(installed, "rayllm-source-near")
    installed.install("wheel", "rayllm-source-near", {"near.py": ""}, "source-near = near")
    assert list(build([FAR, "rayllm-source-near"]).versions) == ["rayllm-core", FAR, "rayllm-source-near"]
    with pytest.raises(PluginError, match="it requires rayllm-source-near"):
        build([FAR])


def test_metadata_that_cannot_be_read(installed: Site) -> None:
    """The line that is wrong is told."""
    install(installed, "pydantic >> 2")
    with pytest.raises(
        PluginError, match=r"what rayllm-engine-far 0\.3\.1 requires can't be read\n  cause  (.|\n)* >> 2"
    ):
        build([FAR])
