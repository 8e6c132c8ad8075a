"""The nodes' side: what keeps Ray's head, or a worker, running in a pod of the platform."""
