"""LoRA adapters that change what the fake engine calls itself; loaded and unloaded as vLLM has it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm.testing.fake_openai.wire import Failure, log


@dataclass
class Adapters:
    """Those of one engine."""

    model: str
    """The model's name."""
    enabled: bool
    most: int
    """How many it holds."""
    highest: int
    """The highest rank of any."""
    loaded: dict[str, str] = field(default_factory=dict)
    """Folders, by name."""

    def change(self, asked: str, body: dict[str, Any]) -> str | None:
        """Answer a request that loads or unloads one; None for any other."""
        if not self.enabled or asked not in {"POST /v1/load_lora_adapter", "POST /v1/unload_lora_adapter"}:
            return None
        name = str(body.get("lora_name", ""))
        if asked.endswith("/v1/load_lora_adapter"):
            if name in self.loaded:
                raise Failure(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput")
            config = Path(str(body.get("lora_path")), "adapter_config.json")
            if not config.is_file():
                raise Failure(404, f"Loading lora {name} failed: No adapter found for {body.get('lora_path')}")
            if (rank := json.loads(config.read_text()).get("r", 0)) > self.highest:
                raise Failure(400, f"LoRA rank {rank} is greater than max_lora_rank {self.highest}.", "BadRequestError")
            if len(self.loaded) >= self.most:
                raise Failure(400, f"No free lora slots: {self.most} are taken.", "BadRequestError")
            self.loaded[name] = str(body["lora_path"])
        elif self.loaded.pop(name, None) is None:
            raise Failure(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        log(f"fake engine: adapters {', '.join(sorted(self.loaded)) or 'none'}")
        return f"Success: {name}"

    def cards(self) -> list[dict[str, Any]]:
        """What /v1/models lists of them."""
        fixed = {"object": "model", "created": int(time.time()), "owned_by": "rayllm", "parent": self.model}
        return [{"id": name, "root": folder, **fixed} for name, folder in self.loaded.items()]
