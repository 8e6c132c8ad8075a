"""A typed client of CML API v2, the REST API of Cloudera AI workspaces."""

from rayllm_backend_cai.api.client import CaiClient
from rayllm_backend_cai.api.errors import (
    AlreadyActiveError,
    CaiError,
    CertificateError,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    UnavailableError,
)
from rayllm_backend_cai.api.transport import Call

__all__ = [
    "AlreadyActiveError",
    "CaiClient",
    "CaiError",
    "Call",
    "CertificateError",
    "KeyRefusedError",
    "NotFoundError",
    "QuotaError",
    "UnavailableError",
]
