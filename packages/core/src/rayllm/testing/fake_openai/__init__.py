"""What the fake engine's server is made of. Only the standard library; `fake_server.py` runs it as a program."""
