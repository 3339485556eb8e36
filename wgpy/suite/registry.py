"""Suites by name. Each is used only after its known-answer self-test."""

from wgpy.errors import WgpyError
from wgpy.suite.record import BOUNDS, Suite
from wgpy.suite.wireguard import WIREGUARD

_registered: dict[str, Suite] = {WIREGUARD.name: WIREGUARD}
_tested: set[str] = set()


def register(suite: Suite) -> None:
    """Adds a suite. Raises WgpyError for a name in use, for sizes that the messages
    cannot carry, and for a construction and identifier that another suite
    has (two suites must never understand each other by accident)."""
    if wrong := conflicts(suite):
        raise WgpyError(wrong)
    _registered[suite.name] = suite


def conflicts(suite: Suite) -> str:
    """Why it cannot be used beside the registered ones; empty for no reason."""
    if suite.name in _registered:
        return f"suite {suite.name!r} is registered already"
    if wrong := _sizes_wrong(suite):
        return f"suite {suite.name!r}: {wrong}"
    for other in _registered.values():
        if (suite.construction, suite.identifier) == (other.construction, other.identifier):
            return f"suite {suite.name!r} has the labels of {other.name!r}"
    return ""


def _sizes_wrong(suite: Suite) -> str:
    for field, (low, high) in BOUNDS.items():
        if not low <= getattr(suite, field) <= high:
            return f"{field} must be {low} to {high}"
    largest = max(suite.key_size, suite.xkey_size)
    if not largest <= suite.hash_size <= suite.block_size:
        return "a key of an AEAD has at most hash_size bytes, a hash at most block_size"
    return ""


def names() -> list[str]:
    """Of all suites that are registered, sorted."""
    return sorted(_registered)


def get(name: str = "wireguard") -> Suite:
    """The suite of that name, after its self-test has passed once in this process.
    Raises WgpyError when it is unknown or fails."""
    suite = _registered.get(name)
    if suite is None:
        raise WgpyError(f"no suite is called {name!r}; there are: {', '.join(names())}")
    if name not in _tested:
        failure = suite.self_test()
        if failure:
            raise WgpyError(f"suite {name!r} failed its self-test: {failure}")
        _tested.add(name)
    return suite
