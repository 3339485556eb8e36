"""A run in CI is complete or it fails: nothing may be skipped for want of a program."""

import os

import pytest
from needs import ABSENT

_absent: list[str] = []


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
