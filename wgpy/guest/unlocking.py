"""The passphrase, on its way from whoever types it at the console to crypto. Here it is in memory for
as long as it takes to pass it on, and is overwritten."""

import binascii
import logging
import re
import socket
from collections.abc import Callable

from wgpy.admin.console import Turn
from wgpy.errors import WgpyError
from wgpy.loop import READ, Loop

log = logging.getLogger(__name__)

_MAX_WORDS = 1000    # bytes of what crypto says
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Unlocking:
    """`asks()` is called when crypto waits for a passphrase and nobody has just typed one."""

    def __init__(self, loop: Loop, node: str, asks: Callable[[], None]):
        self._loop, self._node, self._asks = loop, node, asks
        self._relay: socket.socket | None = None
        self._turn: Turn | None = None
        self._wrong = ""
        self.asking = False

    def give(self) -> int:
        """A new descriptor for a start of crypto, which asks there: wgpy.crypto.unlock.ask_relayed. OSError."""
        self._hang_up()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._relay = ours
        self._loop.watch(ours.fileno(), READ, lambda _: self._heard(ours))
        return theirs.detach()

    def unlock(self, turn: Turn, words: list[str]) -> None:
        """The command: asks for the passphrase, and ends when crypto has tried it."""
        if words not in ([], ["hex"]):
            return turn.error("usage: unlock [hex]")
        if not self.asking:
            return turn.error("crypto does not ask for a passphrase")
        turn.ask_secret(f"passphrase of node {self._node}", lambda secret: self._typed(turn, as_typed(secret, words)))

    def ready(self) -> None:
        """Crypto runs: it was the right one."""
        self._hang_up()
        self._end("")

    def ended(self, last_words: str) -> None:
        """Crypto ended."""
        self._hang_up()
        self._end(last_words.removeprefix("crypto: ") or "crypto ended")

    def _typed(self, turn: Turn, secret: bytearray) -> None:
        try:
            if self._relay is None or not self.asking:
                return turn.error("crypto does not ask for a passphrase")
            self._relay.send(secret)
        finally:
            secret[:] = bytes(len(secret))
        self.asking, self._wrong, self._turn = False, "", turn

    def _heard(self, ours: socket.socket) -> None:
        """A prompt ends with a colon and a blank, anything else is what was wrong."""
        try:
            said = ours.recv(_MAX_WORDS).decode("ascii", "replace")
        except OSError:
            said = ""
        if not said:
            return self._hang_up()
        if not said.endswith(": "):
            self._wrong = _UNPRINTABLE.sub("?", said.strip())
            return
        self.asking = True
        if self._turn is not None:
            self._end(self._wrong or "another one is asked for")
        else:
            self._asks()

    def _end(self, error: str) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and error:
            turn.error(error)
        elif turn is not None:
            turn.ok()

    def _hang_up(self) -> None:
        self.asking = False
        if self._relay is not None:
            self._loop.forget(self._relay.fileno())
            self._relay.close()
            self._relay = None


def as_typed(secret: bytearray, words: list[str]) -> bytearray:
    """A copy of a secret, which `hex` among the words says is in hexadecimal digits. WgpyError."""
    try:
        return bytearray(binascii.unhexlify(secret) if "hex" in words else secret)
    except binascii.Error:
        raise WgpyError("not hexadecimal digits") from None
