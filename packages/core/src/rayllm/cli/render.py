"""`rayllm render`: the Serve config, for review or for somebody else to apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Print the Serve config that `up` hands to the cluster; ask no cluster.

    It is what KubeRay's `serveConfigV2` and Ray Serve's REST API take. It holds no secret, names at most. The code that
    it names (`gcs://…`) is uploaded by `rayllm up`; without that, Ray can't start the applications.

    Examples:
      rayllm render
      rayllm render -f prod.yaml --json
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    llm = open_file(file, output)
    config = llm.render()
    if json:
        output.print_json(config)
        return
    import yaml

    for line in _note(llm.name, config):
        output.say(f"# {line}")
    output.stdout.write(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _note(name: str, config: Mapping[str, Any]) -> list[str]:
    """What a reader has to know who applies it by hand."""
    code = {package for app in config["applications"] for package in app["runtime_env"]["py_modules"]}
    return [
        f"The Serve config of {name}, as `rayllm up` hands it to a cluster that serves nothing else.",
        "Code packages, which `rayllm up` uploads to the cluster's GCS (PUT /api/packages/gcs/NAME):",
        *(f"  {uri}" for uri in sorted(code)),
    ]
