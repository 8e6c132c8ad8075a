"""Prometheus metrics, from what the ledger counts and from HAProxy's own numbers."""

from __future__ import annotations

from rayllm.serving.records.access_line import AccessLine
from rayllm.serving.records.metrics import Metrics

STAT = "# pxname,svname,qcur,qmax,scur\ngateway,FRONTEND,,,3\nmodel:a,r1,0,0,2\nmodel:a,BACKEND,4,5,2\n"


def test_metrics() -> None:
    """By model, replica, key and status; times as histograms; HAProxy's own numbers."""
    metrics = Metrics(lambda: STAT)
    metrics.watch(AccessLine(0, "team", "a", "r1", 200, 0, 0.04, 5, 3, first_s=0.02, between_s=0.004))
    metrics.watch(AccessLine(0, "team", "a", "r1", 503, 0, 0.04))
    metrics.watch(AccessLine(0, "team", "", "-", 429, 0, 0.04))
    text = metrics.text().decode().splitlines()
    for wanted in (
        'rayllm_requests_total{key="team",model="a",replica="r1",status="200"} 1.0',
        'rayllm_requests_total{key="team",model="",replica="-",status="429"} 1.0',
        'rayllm_tokens_total{key="team",kind="completion",model="a"} 3.0',
        'rayllm_first_chunk_seconds_bucket{le="0.025",model="a"} 1.0',
        'rayllm_between_chunks_seconds_sum{model="a"} 0.004',
        'rayllm_request_seconds_count{model="a"} 2.0',
        'rayllm_running_requests{model="a",replica="r1"} 2.0',
        'rayllm_waiting_requests{model="a"} 4.0',
        "rayllm_haproxy_up 1.0",
    ):
        assert [found for found in text if sorted(found) == sorted(wanted)], wanted
    assert not [found for found in text if "_seconds" in found and 'model=""' in found]


def test_metrics_without_haproxy() -> None:
    """They say that it does not answer."""

    def gone() -> str:
        raise OSError

    assert b"rayllm_haproxy_up 0.0" in Metrics(gone).text()
