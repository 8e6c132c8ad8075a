"""This machine, as the operator sees it: the environments that are built here, and what is in the way."""
