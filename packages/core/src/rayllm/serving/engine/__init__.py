"""One engine's process: started, asked, watched, and reached through Serve."""
