"""Cipher suites: one frozen record each, chosen by name, never negotiated."""

from wgpy.suite.record import PSK_SIZE, Suite
from wgpy.suite.registry import get, names, register

__all__ = ["PSK_SIZE", "Suite", "get", "names", "register"]
