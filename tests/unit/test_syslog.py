"""F3: what a daemon in the background has to say reaches the log daemon, which cannot hold
it up."""

import logging
import os
import re
import resource
import socket

import pytest

from wgpy.daemon import syslog

LINE = re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d wgpyd\[(\d+)\]: wg0: (.*)", re.DOTALL)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log")


@pytest.fixture
def log(path):
    logger = logging.getLogger("wgpy.test_syslog")
    logger.handler = syslog.Handler("wgpyd", "wg0", path)
    logger.addHandler(logger.handler)
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.removeHandler(logger.handler)


def daemon(path, kind=socket.SOCK_DGRAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.setblocking(False)
    s.bind(path)
    return s


def read(s):
    lines = []
    try:
        while True:
            lines.append(s.recv(65536))
    except BlockingIOError:
        return lines


def test_a_line_is_a_datagram_that_log_daemons_know(path, log):
    with daemon(path) as s:
        for level, severity in ((logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3),
                                (logging.CRITICAL, 2)):
            log.log(level, "%d refused", 7)
            priority, pid, text = LINE.fullmatch(s.recv(65536)).groups()
            assert (int(priority), int(pid), text) == (3 * 8 + severity, os.getpid(), b"7 refused")


def test_a_line_is_one_line_and_bounded(path, log):
    with daemon(path) as s:
        log.error("a\nb\x1b[2J\0\udc80\u202e…" + "x" * 10_000)
        try:
            raise ValueError("inside")
        except ValueError:
            log.critical("ends", exc_info=True)
        long, trace = read(s)
    assert "wg0: a | b?[2J???…xxx".encode() in long and len(long) < 4200
    assert b"ends | Traceback" in trace and trace.endswith(b"ValueError: inside") and b"\n" not in trace


def test_a_log_daemon_that_hangs_loses_lines_and_holds_nothing_up(path, log):
    queue = int(open("/proc/sys/net/unix/max_dgram_qlen").read()) + 1
    with daemon(path) as s:
        for n in range(queue + 20):
            log.warning("line %d", n)
        assert log.handler.lost == 20
        got = read(s)
        assert [LINE.fullmatch(line)[3] for line in got] == [b"line %d" % n for n in range(queue)]
        log.warning("again")
        log.warning("and again")
        assert [LINE.fullmatch(line)[3] for line in read(s)] == [b"again (lines lost before this one: 20)", b"and again"]
    assert log.handler.lost == 20


def test_a_log_daemon_may_be_absent_of_another_type_and_start_anew(path, log, capsys):
    log.warning("absent")
    with daemon(path):
        log.warning("there")
    log.warning("nobody reads")
    os.unlink(path)
    with daemon(path, socket.SOCK_STREAM) as s:
        s.listen()
        log.warning("a stream")
    os.unlink(path)
    assert log.handler.lost == 3
    with daemon(path) as s:
        log.warning("anew")
        assert read(s)[0].endswith(b"wg0: anew (lines lost before this one: 2)")
    assert capsys.readouterr().err == ""


def test_without_a_descriptor_left_the_line_is_lost(path, log):
    with daemon(path):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 3, before[1]))
            with pytest.raises(OSError):
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            log.warning("none left")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for fd in held:
                os.close(fd)
    assert log.handler.lost == 1
