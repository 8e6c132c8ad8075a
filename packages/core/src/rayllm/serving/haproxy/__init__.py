"""The gateway's HAProxy: its configuration, its process, its port."""
