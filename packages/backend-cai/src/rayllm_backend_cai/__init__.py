"""Cloudera AI (CAI, formerly CML) for RayLLM: the client of its API in `api`, a stand-in for the platform in `testing`.

There is no backend in here yet, so RayLLM does not list it among its plugins.
"""
