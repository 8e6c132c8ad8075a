"""What a deployment remembers beside its gateway: usage by key and model. Losing it loses history, never serving."""
