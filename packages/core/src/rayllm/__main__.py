"""`python -m rayllm`: the command line, by the interpreter it is installed for."""

from rayllm.cli import main

main()
