"""Bounds on what a client may send; how large a body may be at all is `GatewayView.max_body`."""

from __future__ import annotations

BODY_IN_PLACE = 256 * 1024
"""Bytes of the largest request body that is read where it arrives; larger ones are read by a process of their own."""
BODY_IN_PLACE_S = 30
"""Seconds in which such a body has to arrive."""
LARGE_BODY = 8 << 20
"""Bytes up to which a body is one of many; few that are larger are in memory at a time."""
LARGE_BODY_S = 60
"""Seconds in which a body of that size has to arrive."""
HUGE_BODY_S = 120
"""Seconds in which a larger one has to arrive, and may wait until it is read at all."""
LARGE_BODIES = 128
"""Bodies up to `LARGE_BODY` at a time; a place is taken until the answer has ended."""
HUGE_BODIES = 8
"""Larger ones at a time."""
HEADERS = 32 * 1024
"""Bytes of the headers beside the largest body."""
