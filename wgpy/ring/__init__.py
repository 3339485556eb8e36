"""Shared memory between rooms: layout, backings, attachment."""
