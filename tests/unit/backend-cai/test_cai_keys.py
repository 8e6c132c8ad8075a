"""What is shown of the key that gets past the workspace's log-in."""

from __future__ import annotations

import pytest

from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.steps.keys import ingress_of
from rayllm_backend_cai.workspace import Workspace


@pytest.mark.parametrize(
    ("options", "env", "shown"),
    [
        ({}, {"CML_API_KEY": "k"}, "$CML_API_KEY"),
        ({}, {"CDSW_APIV2_KEY": "k"}, "$CDSW_APIV2_KEY"),
        ({}, {"CML_API_KEY": "k", "CDSW_APIV2_KEY": "other"}, "$CML_API_KEY"),
        ({}, {"CML_API_KEY": "k", "CML_APPLICATION_KEY": "a"}, "$CML_APPLICATION_KEY"),
        ({"application_key": "a"}, {"CML_API_KEY": "k", "CML_APPLICATION_KEY": "a"}, "$CML_APPLICATION_KEY"),
        # from a variable of another name: which, is not known here
        ({"application_key": "b"}, {"CML_API_KEY": "k", "CML_APPLICATION_KEY": "a"}, "<application key>"),
        ({}, {"CML_API_KEY": "another's"}, "<application key>"),
    ],
)
def test_the_variable_is_named_that_holds_the_key(options: dict[str, str], env: dict[str, str], shown: str) -> None:
    """And no other."""
    ingress = ingress_of(CaiOptions.model_validate(options), Workspace(url="https://w", key="k"), env)
    assert ingress.shown_headers == {"authorization": f"Bearer {shown}"}
    assert ingress.headers["authorization"].removeprefix("Bearer ") not in str(ingress.shown_headers).split()
