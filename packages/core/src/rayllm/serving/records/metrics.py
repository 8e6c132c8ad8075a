"""Prometheus metrics of a gateway: what its access log tells, and what HAProxy knows right now."""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rayllm.serving.records.access_line import AccessLine

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_HISTOGRAMS = {
    "first_chunk": "Seconds until the first part of a stream",
    "between_chunks": "Mean seconds between the parts of a stream, one value for each stream",
    "request": "Seconds from a request's first byte to its answer's last",
    "queue": "Seconds in which a request waited for room at a replica",
}


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> Iterator[tuple[str, float]]:
        below = 0
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self._counts, strict=True):
            below += count
            yield bound, below


class Metrics(Collector):
    """Counts requests as they are told to `watch`, from when it was made.

    Args:
        stat: HAProxy's `show stat`; raises OSError where it does not answer.
    """

    def __init__(self, stat: Callable[[], str]) -> None:
        self._stat = stat
        self._requests = Counter[tuple[str, str, str, int]]()
        self._tokens = Counter[tuple[str, str, str]]()
        self._times: dict[tuple[str, str], _Histogram] = {}

    def watch(self, request: AccessLine) -> None:
        """Count one request; of one that reached no model there is nothing more to tell."""
        self._requests[request.model, request.replica, request.key, request.status] += 1
        if not request.model:
            return
        if request.prompt_tokens or request.completion_tokens:
            self._tokens[request.model, request.key, "prompt"] += request.prompt_tokens
            self._tokens[request.model, request.key, "completion"] += request.completion_tokens
        self._time("request", request.model, request.total_s)
        self._time("queue", request.model, request.queue_s)
        if request.first_s is not None:
            self._time("first_chunk", request.model, request.first_s)
        if request.between_s is not None:
            self._time("between_chunks", request.model, request.between_s)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: the library need not collect to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What there is right now, as the library asks for it."""
        requests = CounterMetricFamily(
            "rayllm_requests", "Requests that were answered", labels=["model", "replica", "key", "status"]
        )
        for (model, replica, key, status), count in list(self._requests.items()):
            requests.add_metric([model, replica, key, str(status)], count)
        yield requests
        tokens = CounterMetricFamily(
            "rayllm_tokens", "Tokens of prompts and of answers", labels=["model", "key", "kind"]
        )
        for labels, count in list(self._tokens.items()):
            tokens.add_metric(labels, count)
        yield tokens
        for name, about in _HISTOGRAMS.items():
            family = HistogramMetricFamily(f"rayllm_{name}_seconds", about, labels=["model"])
            for (of, model), histogram in list(self._times.items()):
                if of == name:
                    family.add_metric([model], list(histogram.buckets()), histogram.sum)
            yield family
        yield from self._now()

    def _time(self, name: str, model: str, seconds: float) -> None:
        histogram = self._times.get((name, model))
        if histogram is None:
            histogram = self._times[name, model] = _Histogram()
        histogram.add(seconds)

    def _now(self) -> Iterator[Metric]:
        running = GaugeMetricFamily("rayllm_running_requests", "Requests in flight", labels=["model", "replica"])
        waiting = GaugeMetricFamily("rayllm_waiting_requests", "Requests that wait for room", labels=["model"])
        up = GaugeMetricFamily("rayllm_haproxy_up", "1 if HAProxy answers")
        try:
            rows = list(csv.DictReader(self._stat().lstrip("# ").splitlines()))
        except OSError:
            rows = []
        up.add_metric([], bool(rows))
        for row in rows:
            kind, _, model = row["pxname"].partition(":")
            if kind != "model":
                continue
            if row["svname"] == "BACKEND":
                waiting.add_metric([model], int(row["qcur"] or 0))
            else:
                running.add_metric([model, row["svname"]], int(row["scur"] or 0))
        yield from (running, waiting, up)
