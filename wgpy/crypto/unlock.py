"""Where the secret that opens a key store comes from: a credential's descriptor, or the
administrator at a terminal. It lies in bytearrays, which the caller overwrites."""

import mmap
import os
import termios
from collections.abc import Callable

from wgpy.crypto.keystore import KeyStore, Slot
from wgpy.crypto.sealed import KEY_SIZE, KeyStoreError, WrongKey, wipe

MAX_SECRET = 4096  # bytes of a credential
MAX_TYPED = 512
TRIES = 3


def read_credential(fd: int) -> bytearray:
    """All of it but one final newline, from the start where it has one: a descriptor
    that is kept serves again. KeyStoreError when it is empty or too long."""
    secret, buffer, done = bytearray(), bytearray(MAX_SECRET + 2), 0
    try:
        while done < len(buffer):
            with memoryview(buffer)[done:] as rest:
                try:
                    got = os.preadv(fd, [rest], done)
                except OSError:  # a pipe
                    got = os.readv(fd, [rest])
            if not got:
                break
            done += got
    except OSError as e:
        wipe(buffer)
        raise KeyStoreError(f"credential: {e.strerror}") from None
    end = done - 1 if done and buffer[done - 1] == 0x0A else done
    secret += memoryview(buffer)[:end]
    wipe(buffer)
    if not 0 < len(secret) <= MAX_SECRET:
        wipe(secret)
        raise KeyStoreError(f"a credential has 1 to {MAX_SECRET} bytes")
    return secret


def ask(tty: int, prompt: str) -> bytearray:
    """One line from a terminal, not echoed. KeyStoreError when it is none, or ended."""
    buffer = bytearray(MAX_TYPED)
    try:
        before = termios.tcgetattr(tty)
        silent = list(before)
        silent[3] = silent[3] & ~(termios.ECHO | termios.ISIG) | termios.ICANON | termios.ECHONL
        termios.tcsetattr(tty, termios.TCSAFLUSH, silent)
        try:
            os.write(tty, prompt.encode())
            got = os.readv(tty, [buffer])
        finally:
            termios.tcsetattr(tty, termios.TCSAFLUSH, before)
    except (OSError, termios.error):
        raise KeyStoreError("no passphrase: not a terminal") from None
    line = bytearray(memoryview(buffer)[:got])
    wipe(buffer)
    if not line.endswith(b"\n"):
        wipe(line)
        raise KeyStoreError("no passphrase" if not got else f"a passphrase has at most {MAX_TYPED} bytes")
    line[-1] = 0
    del line[-1]
    return line


def ask_relayed(relay: int, prompt: str) -> bytearray:
    """As ask(), of a SOCK_SEQPACKET socket: whoever has the other end shows what comes, and answers
    a prompt with one packet. KeyStoreError when nobody is there."""
    buffer = bytearray(MAX_SECRET)
    try:
        os.write(relay, prompt.encode())
        got = os.readv(relay, [buffer])
    except OSError:
        got = 0
    secret = bytearray(memoryview(buffer)[:got])
    wipe(buffer)
    if not got:
        raise KeyStoreError("no passphrase: nobody is at the console")
    return secret


def ask_new(tty: int) -> bytearray:
    """Asked twice. KeyStoreError when the two differ or are empty."""
    first, second = ask(tty, "new passphrase: "), ask(tty, "once more: ")
    same = first == second
    wipe(second)
    if not same or not first:
        wipe(first)
        raise KeyStoreError("the two passphrases differ" if not same else "an empty passphrase")
    return first


def opened(slot: Slot, secret: bytearray) -> KeyStore:
    """The secret is overwritten."""
    try:
        return KeyStore.open(slot, secret)
    finally:
        wipe(secret)


def open_at_terminal(slot: Slot, tty: int, name: str, ask: Callable[[int, str], bytearray] = ask) -> KeyStore:
    """Up to three tries. KeyStoreError."""
    for left in reversed(range(TRIES)):
        try:
            return opened(slot, ask(tty, f"passphrase of node {name}: "))
        except WrongKey as e:
            if not left:
                raise
            os.write(tty, f"{e}\n".encode())
    raise AssertionError


class Kept:
    """The file key of a console passphrase, in a page that outlives this process: a
    restart of the room need not ask again. Zeros: nothing is kept."""

    def __init__(self, fd: int | None):
        """Takes the page's descriptor over; without one nothing will be kept. OSError."""
        self._page = None
        if fd is not None:
            try:
                self._page = mmap.mmap(fd, mmap.PAGESIZE)
            finally:
                os.close(fd)

    @property
    def empty(self) -> bool:
        """Nothing was kept, or there is no page."""
        return self._page is None or not any(memoryview(self._page)[:KEY_SIZE])

    def key(self) -> bytearray | None:
        """A copy."""
        return None if self._page is None or self.empty else bytearray(memoryview(self._page)[:KEY_SIZE])

    def keep(self, key: bytearray) -> None:
        """The argument is overwritten."""
        if self._page is not None:
            self._page[:KEY_SIZE] = key
        wipe(key)


def open_inherited(slot: Slot, fds: dict[str, int], name: str, kept: Kept) -> KeyStore:
    """Takes `credential`, `tty` and `relay` out of `fds`; what is kept decides, or the first of
    them that is there. KeyStoreError, HostError."""
    sources = {n: fds.pop(n, None) for n in ("credential", "tty", "relay")}
    try:
        if (key := kept.key()) is not None:
            try:
                return KeyStore.open(slot, key=key)
            except WrongKey:  # sealed anew meanwhile
                kept.keep(bytearray(KEY_SIZE))
            finally:
                wipe(key)
        if sources["credential"] is not None:
            return opened(slot, read_credential(sources["credential"]))
        if sources["tty"] is not None:
            store = open_at_terminal(slot, sources["tty"], name)
        elif sources["relay"] is not None:
            store = open_at_terminal(slot, sources["relay"], name, ask_relayed)
        else:
            raise KeyStoreError("the key store is locked: give a credential, or a terminal to ask at")
        kept.keep(store.file_key)
        return store
    finally:
        for fd in sources.values():
            if fd is not None:
                os.close(fd)
