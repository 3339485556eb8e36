"""The WireGuard protocol: bytes, time and entropy in, effects out. Pure."""
