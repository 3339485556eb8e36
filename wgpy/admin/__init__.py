"""Local administration: the UAPI server."""
