"""The steps of a cluster's bring-up and removal, one module each. Every one may be repeated after a crash anywhere."""
