"""Processes that end with their owner, and ports that two of them never share."""
