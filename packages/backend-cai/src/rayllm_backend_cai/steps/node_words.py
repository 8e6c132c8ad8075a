"""What a node's supervisor says of itself."""

from __future__ import annotations

from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiError, NotFoundError
from rayllm_backend_cai.shared import NodeRecord
from rayllm_backend_cai.steps.nodes import Place


def node_says(place: Place, node: str) -> str:
    """How far it is, in a line. One request."""
    file = shared.cluster_folder(place.name) / "nodes" / f"{node}.json"
    try:
        record = NodeRecord.model_validate_json(place.client.files.download(place.project, str(file)))
    except (NotFoundError, ValueError):
        return "it has not said anything yet"
    except CaiError as error:
        return f"what it says is not known: {error.message}"
    return ": ".join(filter(None, [record.state, record.reason]))
