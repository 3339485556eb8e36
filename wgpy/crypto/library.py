"""A library loaded into this process, as a suite. Who calls this has shut the process in, or
is told by docs/threat-model.md what the library may do."""

from collections.abc import Callable

from wgpy._fast.plane import load_suite
from wgpy.errors import HostError, SuiteError
from wgpy.suite import Suite
from wgpy.suite.library import suite_of
from wgpy.suite.registry import conflicts


def load(fd: int, begin: Callable[[str], None] = lambda check: None) -> Suite:
    """Of a sealed copy of the library (wgpy.isolate.library), which passes its known answers and
    our own checks in this process, too. `begin(check)` is called before each. SuiteError,
    HostError: why it is not used."""
    begin("load")
    suite = suite_of(loaded := load_suite(fd))
    begin("labels")
    if wrong := conflicts(suite):
        raise HostError(wrong)
    begin("self-test")
    if failed := loaded.test():
        raise SuiteError(failed)
    return suite
