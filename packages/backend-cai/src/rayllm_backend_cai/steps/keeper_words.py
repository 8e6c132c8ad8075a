"""What the head says of the workers that it does not make, or that do not stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiError, NotFoundError
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import OVER, group_of
from rayllm_backend_cai.shared import KeeperRecord, Wanted
from rayllm_backend_cai.steps.nodes import Place

STALE_S = 300.0
"""Seconds after a try was due from which a hold is no news: the group needs no more, or the head is gone. Clocks of
two machines differ."""


def keeper_record(place: Place) -> KeeperRecord | None:
    """What the head has written; None where there is nothing. One request.

    Raises:
        CaiError: it can't be asked for.
    """
    file = shared.keeper_file(shared.cluster_folder(place.name))
    try:
        return KeeperRecord.model_validate_json(place.client.files.download(place.project, str(file)))
    except (NotFoundError, ValueError):  # it has nothing to say yet
        return None


def keeper_words(place: Place) -> list[str]:
    """Why the head makes no workers, or ends them, where it does: a line each."""
    try:
        kept = keeper_record(place)
    except CaiError as error:
        return [f"what the head does about workers is not known: {error.message}"]
    if kept is None:
        return []
    holds = [f"{group}: {hold.reason}" for group, hold in [*kept.refused.items(), *kept.failing.items()]]
    return [*filter(None, [kept.trouble]), *holds]


def lacking(applications: Iterable[Application], wanted: Wanted, *, most: bool = False) -> list[str]:
    """Groups of which fewer are there, or come, than the fewest that are wanted, or the most."""
    there = Counter(group_of(one) for one in applications if one.status not in OVER)
    return [name for name, told in wanted.groups.items() if there[name] < (told.max if most else told.min)]


def held(kept: KeeperRecord, group: str, now: float, *, lacks: bool) -> tuple[str, str] | None:
    """What a group waits for, in a word, and why; None where it is not known to wait.

    Args:
        kept: what the head has written.
        group: whose.
        now: seconds since 1970.
        lacks: whether it has fewer than the fewest, which the head tries to mend without end.
    """
    if kept.trouble and (lacks or kept.stuck):
        return "waiting", kept.trouble
    for state, holds in (("refused", kept.refused), ("waiting", kept.failing)):
        hold = holds.get(group)
        if hold and (now < hold.again + STALE_S or (lacks and state == "refused")):
            times = f" ({hold.count} times in a row)" if hold.count > 1 else ""
            return state, f"{hold.reason}{times}"
    return None
