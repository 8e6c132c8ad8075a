"""RayLLM's gateway side by side with others, and with none, in one run.

`python -m benchmarks gateway` measures it in front of a mock engine, `gateway-vllm` in front of a real one, and
`python -m benchmarks.gateway.soak` for half an hour at saturation.
"""
