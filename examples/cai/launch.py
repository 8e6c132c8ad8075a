"""Job 3: cluster, models and endpoint as the file has them. What runs and is as it should be stays untouched."""

from rayllm_backend_cai.inside import launch

launch("rayllm.yaml")
