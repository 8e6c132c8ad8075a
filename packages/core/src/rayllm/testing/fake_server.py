"""An OpenAI-compatible server without a model, as a process: what the fake engine runs.

Only the standard library, so that any Python >= 3.10 runs this file with `-I`. It is told by flags to be slow, to fail,
to crash or to hang, and its default answer names the model and the process, so that replicas can be told apart. Beside
OpenAI's endpoints it has Anthropic's `/v1/messages`, and a WebSocket `/v1/realtime` that says back what it hears.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))  # -I leaves everything out that is not installed
    from rayllm.testing.fake_openai.program import main

    sys.exit(main())
