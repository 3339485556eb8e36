"""Administration over a local socket: who may, what is written down, what is shown."""
