"""Job 2: the Python environments of the nodes and of the models' engines. Where they are there, it takes seconds."""

from rayllm_backend_cai.inside import make_environments

make_environments("rayllm.yaml")
