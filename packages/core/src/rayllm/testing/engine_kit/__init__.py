"""What the kit for engines is made of: launches to try, a look from outside, and the engine's process."""
