"""Coming from ray-serve-cai: its YAML files as one of RayLLM's. `python -m rayllm_backend_cai.migrate OLD.yaml`."""

from __future__ import annotations

from rayllm_backend_cai.migrate.convert import Converted, convert

__all__ = ["Converted", "convert"]
