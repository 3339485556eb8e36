"""Errors a person may see. Packets never raise; they are counted (see drops)."""


class WgpyError(Exception):
    """Base of every error that wgpy raises on purpose; str() is one clear line."""


class ConfigError(WgpyError):
    """Bad configuration text; names the place.

    source: file name or "uapi"; line: 1-based or None; key: the offending key or None.
    """

    def __init__(self, message: str, *, source: str | None = None,
                 line: int | None = None, key: str | None = None):
        self.message, self.source, self.line, self.key = message, source, line, key
        place = ":".join(str(p) for p in (source, line) if p is not None)
        super().__init__(": ".join(p for p in (place, key, message) if p))


class HostError(WgpyError):
    """The host refuses or lacks something; the text names the remedy."""


class LimitError(WgpyError):
    """More of something than there is room for: ENOSPC to whoever asked over the UAPI."""


class SuiteError(WgpyError):
    """A library with cryptographic functions is refused, or one of them could not do its work."""
