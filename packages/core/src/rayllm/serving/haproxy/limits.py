"""Bounds on what a client may send."""

from __future__ import annotations

BODY_IN_PLACE = 256 * 1024
"""Bytes of the largest request body that is read where it arrives, since the model stands in it."""
