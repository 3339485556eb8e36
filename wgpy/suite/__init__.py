"""Cipher suites of the handshake: one frozen record each, chosen by name, never
negotiated."""

from wgpy.suite.record import Suite
from wgpy.suite.registry import get, names, register

__all__ = ["Suite", "get", "names", "register"]
