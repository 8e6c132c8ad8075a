"""Serve's autoscaling, by the engines' own load."""

from __future__ import annotations

import math
from typing import Any


def follow_engine_load(context: Any) -> tuple[int, dict[str, Any]]:
    """Policy function for Serve: requests in all engines over the target per replica, within the bounds.

    Serve does not see requests that pass the gateway; replicas report them (`EngineReplica.record_autoscaling_stats`).
    With no replica there is no engine to ask: then the requests that Serve's proxy holds count.

    Args:
        context: `ray.serve.config.AutoscalingContext`.

    Returns:
        The number of replicas, and the policy's state (none).
    """
    loads = (context.aggregated_metrics or {}).get("ongoing", {})
    ongoing = max(sum(loads.values()), context.total_num_requests)
    wanted = math.ceil(ongoing / context.config.target_ongoing_requests)
    low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(low, min(high, wanted)), {}
