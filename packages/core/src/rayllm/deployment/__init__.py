"""From a checked file to what runs: plan, apply, watch, remove."""
