"""An engine's own command-line flags as data: which there are, what is wrong with some, how they are passed."""
