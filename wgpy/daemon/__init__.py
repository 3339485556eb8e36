"""Daemon processes and their life cycle."""
