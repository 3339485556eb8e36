"""A run in CI is complete or it fails: nothing may be skipped for want of a program. And what
holds of the protocol is shown with every suite."""

import os

import pytest
from needs import ABSENT
from sim.node import SUITE
from wide_suite import WIDE

import examples
from wgpy import suite
from wgpy.protocol.core import Core

Core.strict = True  # a step of the state machine that cannot happen is an error here

SUITES = {"wireguard": suite.get(), "wide": WIDE}
WITH = [*SUITES, *(pytest.param(name, marks=pytest.mark.slow) for name in examples.NAMES)]
WITH_EVERY_SUITE = {"protocol", "timers", "sim"}  # directories; but for tests that are marked of_wireguard

_absent: list[str] = []


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if _absent and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if _absent:
        verdict = "in CI that is a failure" if os.environ.get("CI") else "the reasons are above"
        terminalreporter.write_line(f"{len(_absent)} tests were skipped because programs are missing: {verdict}")
