"""A stand-in for a Cloudera AI workspace over HTTP, with real processes: try and test without one.

It needs what the extra `testing` brings.
"""

from rayllm_backend_cai.testing.fake import FakeCai
from rayllm_backend_cai.testing.faults import Fault
from rayllm_backend_cai.testing.settings import Limits, Settings

__all__ = ["FakeCai", "Fault", "Limits", "Settings"]
