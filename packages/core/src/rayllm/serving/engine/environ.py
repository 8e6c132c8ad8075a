"""The environment variables of an engine's process. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rayllm.engines import Command

_KEEP = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "HOSTNAME", "LD_LIBRARY_PATH"}
    | {"RAYLLM_HOME", "RAYLLM_RUN", "XDG_CACHE_HOME", "TRITON_CACHE_DIR"}
)
_KEEP_PREFIXES = ("LC_", "HF_", "SSL_", "NCCL_", "GLOO_", "CUDA_", "NVIDIA_")
_KEEP_ANY_CASE = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
)


def engine_env(environ: Mapping[str, str], command: Command, gpu_ids: list[str]) -> dict[str, str]:
    """The environment of an engine: an allow-list of the worker's, the command's own, and the GPUs it may see.

    A Ray worker carries OMP_NUM_THREADS, PYTHONBREAKPOINT and RAY_* variables, tokens among them, that are none of an
    engine's business; and with `num_gpus: 0` Ray hides no GPU.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEEP or name.startswith(_KEEP_PREFIXES) or name.upper() in _KEEP_ANY_CASE
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **command.env, "CUDA_VISIBLE_DEVICES": ",".join(gpu_ids)}
