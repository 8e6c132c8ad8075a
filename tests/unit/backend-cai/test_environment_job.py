"""What the operator and the job that makes environments agree on; the integration tests have what it makes."""

from __future__ import annotations

from dataclasses import replace

from tests.cai_environments import preparation

from rayllm_backend_cai import shared
from rayllm_backend_cai.api.jobs import RUN_MARK
from rayllm_backend_cai.bootstrap import asked
from rayllm_backend_cai.preparation import digest_of


def test_what_the_job_is_told_are_the_names_that_the_operator_uses() -> None:
    """The program can't import what needs pydantic."""
    names = (asked.CLUSTER, asked.SERVING_DIGEST, asked.RUN, asked.READY)
    assert names == (shared.CLUSTER, shared.SERVING_DIGEST, RUN_MARK, shared.READY)


def test_only_what_an_environment_depends_on_asks_for_another() -> None:
    """A longer context does not; a version, GPUs or an option with a name do."""
    first = preparation(a="tiny")
    model = dict(first.models[0])

    def digest(**changes: object) -> str:
        return digest_of(replace(first, models=[{**model, **changes}]))

    same = [digest(), digest(model="b"), digest(gpus=4), digest(options={"max_model_len": 7}), digest(source="hf:x")]
    others = [digest(engine="x"), digest(version="2"), digest(gpus=0), digest(options={"load_format": "x"})]
    others += [digest(environment="/x"), digest_of(replace(first, digest="beef"))]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)
