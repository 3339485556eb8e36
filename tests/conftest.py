"""A run in CI is complete or it fails: nothing may be skipped for want of a program. And what
holds of the protocol is shown with every suite."""

import os

import pytest
from hypothesis import HealthCheck, settings
from needs import ABSENT
from sim.node import SUITE
from wide_suite import WIDE

import examples
from wgpy import suite
from wgpy.protocol.core import Core

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # no verdict depends on how busy it is
Core.strict = True  # a step of the state machine that cannot happen is an error here

SUITES = {"wireguard": suite.get(), "wide": WIDE}
WITH = [*SUITES, *(pytest.param(name, marks=pytest.mark.slow) for name in examples.NAMES)]
WITH_EVERY_SUITE = {"protocol", "timers", "sim"}  # directories; but for tests that are marked of_wireguard

# Directories of tests that share the machine with daemons and guests of theirs. In CI one that fails
# is tried once more, and named at the end: a machine may stand still for a while, but the test or
# the program has a fault. More than AGAIN such tests are a failure.
SHARED = {"netns", "interop", "lab", "rooms", "guest", "vms"}
AGAIN = 4

_absent: list[str] = []
_again: list[tuple[str, str]] = []


def pytest_collection_modifyitems(items):
    if os.environ.get("CI"):
        for item in items:
            if item.path.parent.name in SHARED:
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_generate_tests(metafunc):
    if metafunc.definition.path.parent.name in WITH_EVERY_SUITE:
        own = metafunc.definition.get_closest_marker("of_wireguard")
        metafunc.parametrize("suite_in_use", ["wireguard"] if own else WITH, indirect=True)


@pytest.fixture(autouse=True)
def suite_in_use(request):
    """Of the simulator's nodes."""
    name = getattr(request, "param", "wireguard")
    SUITE.use(SUITES.get(name) or examples.suite(name))


def pytest_runtest_logreport(report):
    if report.skipped and ABSENT in str(report.longrepr):
        _absent.append(report.nodeid)
    if report.outcome == "rerun":
        _again.append((report.nodeid, report.longreprtext))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    incomplete = _absent and os.environ.get("CI") or len(_again) > AGAIN
    if incomplete and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if _absent:
        verdict = "in CI that is a failure" if os.environ.get("CI") else "the reasons are above"
        terminalreporter.write_line(f"{len(_absent)} tests were skipped because programs are missing: {verdict}")
    for name, why in _again:
        terminalreporter.write_sep("_", f"failed at first: {name}")
        terminalreporter.write_line(why)
    if len(_again) > AGAIN:
        terminalreporter.write_line(f"{len(_again)} tests failed at first, more than {AGAIN}: that is a failure")
