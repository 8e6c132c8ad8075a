"""Makes three jobs in this project: sync, environment and launch, each after the one before. Run it once in a session.

Before, in the session's terminal: pip install rayllm-core rayllm-engine-vllm rayllm-backend-cai
"""

from rayllm_backend_cai.inside import make_jobs

for job in make_jobs("rayllm.yaml", scripts="cai"):
    print(f"{job.name}: {job.script}, {'after the one before' if job.parent_id else 'run this one'}")
