"""The event loop: descriptors, deadlines, calls from other threads, bad callbacks."""

import os
import signal
import socket
import threading
import time

import pytest

from wgpy.loop import READ, READ_EDGE, WRITE, Loop


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def boottime():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_deadline_comes_on_time_and_not_before(loop):
    at = boottime() + 50_000_000
    loop.next_deadline = lambda: at
    came = []

    def due():
        came.append(boottime())
        loop.stop()

    loop.on_deadline = due
    loop.run()
    assert len(came) == 1 and 0 <= came[0] - at < 500_000_000


def test_call_from_another_thread_wakes_it(loop):
    threading.Timer(0.05, lambda: loop.call_soon(loop.stop)).start()
    loop.run()


def test_signal_ends_it(loop):
    old = signal.getsignal(signal.SIGUSR1)
    try:
        loop.on_signal(signal.SIGUSR1, loop.stop)
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        loop.run()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_bad_callback_does_not_end_it(loop):
    a, b = socket.socketpair()
    seen = []

    def bad(_events):
        seen.append(b.recv(1))
        raise RuntimeError("bug")

    loop.watch(b.fileno(), READ, bad)
    a.send(b"12")
    threading.Timer(0.1, lambda: loop.call_soon(loop.stop)).start()
    loop.run()
    assert seen == [b"1", b"2"]
    loop.forget(b.fileno())
    loop.forget(b.fileno())


def test_hang_up_is_reported_as_readable_and_edge_only_once(loop):
    a, b = socket.socketpair()
    seen = []
    loop.watch(b.fileno(), READ_EDGE, seen.append)
    a.close()
    threading.Timer(0.1, lambda: loop.call_soon(loop.stop)).start()
    loop.run()
    assert len(seen) == 1 and seen[0] & READ


def test_flood_of_readable_descriptors_does_not_starve_the_deadline(loop):
    """F3."""
    pairs = [socket.socketpair() for _ in range(40)]
    for a, b in pairs:
        loop.watch(b.fileno(), READ | WRITE, lambda _: None)
        a.send(b"x")
    at = boottime() + 20_000_000
    loop.next_deadline, loop.on_deadline = lambda: at, loop.stop
    loop.run()
    assert boottime() - at < 500_000_000
