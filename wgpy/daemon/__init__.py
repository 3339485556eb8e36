"""wgpyd: one tunnel in one process."""
