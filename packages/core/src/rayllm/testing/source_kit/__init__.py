"""What the kit for model sources is made of: fetches that are killed, repeated and run at once."""
