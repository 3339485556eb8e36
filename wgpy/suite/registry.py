"""Suites by name. Each is used only after its known-answer self-test."""

from wgpy.errors import WgpyError
from wgpy.suite.record import Suite
from wgpy.suite.wireguard import WIREGUARD

_SIZES = {"key_size": 32, "hash_size": 32, "tag_size": 16, "mac_size": 16, "xnonce_size": 24}

_registered: dict[str, Suite] = {WIREGUARD.name: WIREGUARD}
_tested: set[str] = set()


def register(suite: Suite) -> None:
    """Adds a suite. Raises WgpyError for a name in use, for sizes that the message
    formats cannot carry, and for a construction and identifier that another suite
    has (two suites must never understand each other by accident)."""
    if suite.name in _registered:
        raise WgpyError(f"suite {suite.name!r} is registered already")
    for field, size in _SIZES.items():
        if getattr(suite, field) != size:
            raise WgpyError(f"suite {suite.name!r}: {field} must be {size}")
    for other in _registered.values():
        if (suite.construction, suite.identifier) == (other.construction, other.identifier):
            raise WgpyError(f"suite {suite.name!r} has the labels of {other.name!r}")
    _registered[suite.name] = suite


def names() -> list[str]:
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
