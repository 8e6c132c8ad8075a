"""A plugin seen from outside: a Python of its own imports it and calls it, and tells what it did meanwhile."""
