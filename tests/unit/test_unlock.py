"""Where the key store's secret comes from: credentials and terminals (A2, I1)."""

import mmap
import os
import pty
import termios
import threading

import pytest

from wgpy.crypto import keystore, unlock
from wgpy.crypto.keystore import FileSlot, KeyStore
from wgpy.crypto.sealed import Cost, Document, KeyStoreError, WrongKey
from wgpy.crypto.unlock import Kept
from wgpy.isolate import kernel

GOOD, OTHER = b"correct horse", b"battery staple"
PRIVATE = bytes(range(32))


def created(passphrase=GOOD):
    slot, document = FileSlot(memfd(keystore.blank())), Document()
    document.private_key = bytearray(PRIVATE)
    KeyStore.create(slot, bytearray(passphrase), document, Cost(1, 8 << 10))
    return slot


@pytest.fixture(scope="module")
def sealed():
    return created()


def memfd(data=b""):
    fd = os.memfd_create("t")
    os.write(fd, data)
    return fd


@pytest.mark.parametrize("data, secret", [(b"x", b"x"), (b"x\n", b"x"), (b"x\n\n", b"x\n"), (b"a" * 4096, b"a" * 4096)])
def test_credentials(data, secret):
    fd = memfd(data)
    assert unlock.read_credential(fd) == secret
    assert unlock.read_credential(fd) == secret, "it serves again after a restart"
    os.close(fd)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    assert unlock.read_credential(reader) == secret
    os.close(reader)


@pytest.mark.parametrize("data", [b"", b"\n", b"a" * 4097, b"a" * 9000])
def test_credentials_that_are_none(data):
    fd = memfd(data)
    with pytest.raises(KeyStoreError):
        unlock.read_credential(fd)
    os.close(fd)


class Terminal:
    """Types lines one after the other, each once the prompt for it is there."""

    def __init__(self, *lines):
        self.master, self.tty = pty.openpty()
        self.shown, self.lines = b"", list(lines)
        self.thread = threading.Thread(target=self._type, daemon=True)
        self.thread.start()

    def _type(self):
        for line in self.lines:
            while not self.shown.endswith(b": "):
                self.shown += os.read(self.master, 1000)
            self.shown += b"|"
            os.write(self.master, line)

    def close(self):
        self.thread.join(60)
        os.set_blocking(self.master, False)
        try:
            self.shown += os.read(self.master, 10000)
        except BlockingIOError:
            pass
        return self.shown


def test_a_passphrase_typed_is_not_shown(sealed):
    terminal = Terminal(b"wrong\n", GOOD + b"\n")
    store = unlock.open_at_terminal(sealed, os.dup(terminal.tty), "lima")
    assert store.document.private_key == PRIVATE
    shown = terminal.close()
    assert b"passphrase of node lima" in shown and b"does not open" in shown
    assert b"wrong" not in shown and GOOD not in shown
    assert termios.tcgetattr(terminal.tty)[3] & termios.ECHO


def test_three_wrong_ones_are_enough(sealed):
    terminal = Terminal(b"a\n", b"b\n", b"c\n")
    with pytest.raises(WrongKey):
        unlock.open_at_terminal(sealed, terminal.tty, "lima")
    terminal.close()


def test_two_different_new_ones_are_refused():
    terminal = Terminal(b"a\n", b"b\n")
    with pytest.raises(KeyStoreError, match="differ"):
        unlock.ask_new(terminal.tty)
    terminal.close()


def test_no_terminal():
    reader, _ = os.pipe()
    with pytest.raises(KeyStoreError, match="not a terminal"):
        unlock.ask(reader, "x")


def test_a_console_passphrase_is_asked_once_for_a_node_whose_room_restarts(sealed):
    page, terminal = kernel.secret_memory("t", mmap.PAGESIZE), Terminal(GOOD + b"\n")
    fds = {"tty": os.dup(terminal.tty)}
    unlock.open_inherited(sealed, fds, "lima", Kept(os.dup(page)))
    assert not fds and GOOD not in mmap.mmap(page, mmap.PAGESIZE)[:]
    terminal.close()
    store = unlock.open_inherited(sealed, {}, "lima", Kept(os.dup(page)))
    assert store.document.private_key == PRIVATE
    with pytest.raises(KeyStoreError, match="locked"):
        unlock.open_inherited(created(OTHER), {}, "lima", Kept(os.dup(page)))
    assert not any(mmap.mmap(page, mmap.PAGESIZE)[:]), "a key that fits no more is forgotten"
    with pytest.raises(KeyStoreError, match="locked"):
        unlock.open_inherited(sealed, {}, "lima", Kept(None))
    with pytest.raises(WrongKey):
        unlock.open_inherited(sealed, {"credential": memfd(OTHER)}, "lima", Kept(None))


def test_what_is_kept_cannot_be_read_by_its_descriptor():
    """F6: not from the supervisor, which holds it, nor through /proc."""
    page = kernel.secret_memory("t", mmap.PAGESIZE)
    kept = Kept(os.dup(page))
    key = bytearray(b"k" * 32)
    kept.keep(key)
    assert kept.key() == b"k" * 32 and not any(key)
    if "secretmem" in os.readlink(f"/proc/self/fd/{page}"):
        for attempt in (lambda: os.pread(page, 32, 0), lambda: os.open(f"/proc/self/fd/{page}", os.O_RDONLY)):
            with pytest.raises(OSError):
                attempt()


def test_without_memfd_secret_an_ordinary_one_serves(monkeypatch):
    monkeypatch.setattr(kernel, "_MEMFD_SECRET", -1)
    page = kernel.secret_memory("t", mmap.PAGESIZE)
    Kept(os.dup(page)).keep(bytearray(b"k" * 32))
    assert os.pread(page, 33, 0) == b"k" * 32 + b"\0"
