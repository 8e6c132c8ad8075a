"""When a request is sent once more, and how something is made once and not twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay
from tenacity.stop import stop_base
from tenacity.wait import wait_random_exponential

from rayllm_backend_cai.api.errors import CaiError, UnavailableError

Made = TypeVar("Made")
ATTEMPTS = 6
LONGEST_S = 90.0
"""Seconds after which a request is not sent again, pauses included; one that asks for more is told of at once."""
LOOKS = 3
"""How often something is looked for before it counts as not made: lists may be behind."""
_jitter = wait_random_exponential(multiplier=0.5, max=10)


def retrying(sleep: Callable[[float], None]) -> Retrying:
    """The policy of every call: what is unavailable is asked again, after pauses that grow and differ."""
    return Retrying(
        sleep=sleep,
        retry=retry_if_exception_type(UnavailableError),
        wait=_pause,
        stop=_Enough() | stop_before_delay(LONGEST_S),
        reraise=True,
    )


class _Enough(stop_base):
    """Every attempt was made, or the platform asks for a pause that nobody would wait for."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.attempt_number >= ATTEMPTS or retry_state.upcoming_sleep > LONGEST_S


def _pause(state: RetryCallState) -> float:
    """What the platform asked for, and never all clients at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, UnavailableError) else None
    return (asked or 0.0) + _jitter(state)


def once(make: Callable[[], Made], look: Callable[[], Made | None], policy: Retrying) -> Made:
    """Make something that must not be made twice.

    Args:
        make: sends the request, without retries of its own.
        look: what this request would have made, None if it is not there.
        policy: when to try again. After a failure that leaves open whether it was made, it is looked for, `LOOKS` times
            with the policy's pauses between, before it is made again.

    Raises:
        CaiError: it was refused, or it is still unclear whether it was made.
    """
    unclear: UnavailableError | None = None
    looks = 0

    def turn() -> Made:
        nonlocal unclear, looks
        if unclear:
            looks += 1
            if (found := look()) is not None:
                return found
            if looks % LOOKS:
                raise unclear
        try:
            return make()
        except UnavailableError as error:
            if error.unclear:
                unclear = error
            raise
        except CaiError:  # as taken, perhaps by what the unclear request made
            if unclear and (found := look()) is not None:
                return found
            raise

    # A create may take longer than reads are repeated for, and what became of it is worth knowing all the same.
    return policy.copy(stop=_Enough())(turn)
