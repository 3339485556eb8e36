"""wgpy: a WireGuard-compatible network encryptor."""

__version__ = "0.1.0"
