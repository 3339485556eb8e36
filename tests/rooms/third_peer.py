"""A peer played by the test itself with the protocol core, so that the test knows the
transport keys that an encryptor agrees on with it."""

import os
import socket
import threading
import time
from collections.abc import Callable

from nacl.public import PrivateKey

from wgpy.lab.netns import Netns, wait_until
from wgpy.notices import KEY_NEEDED, Endpoint
from wgpy.protocol import effects
from wgpy.protocol.device import Device, Instant
from wgpy.suite import registry


class ThirdPeer:
    def __init__(self, ns: Netns, address: str, other: bytes, psk: bytes):
        self.private = os.urandom(32)
        self.public = bytes(PrivateKey(self.private).public_key)
        self.sessions: list[effects.InstallKeypair] = []  # with copies of the keys
        self._heard: set[int] = set()  # receiver indices of what came sealed
        self._suite, self._other, self._where = registry.get("wireguard"), other, None
        self.device = Device(self._suite, os.urandom)
        with ns.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 51820))
        self._lock = threading.Lock()
        now = self._now()
        self.device.set_private_key(self.private, now)
        self.device.add_peer(other)
        self.device.set_preshared_key(other, psk, now)
        self.device.start(now)
        threading.Thread(target=self._read, daemon=True).start()

    def keys(self, session: int) -> list[bytes]:
        return [bytes(self.sessions[session].send_key), bytes(self.sessions[session].receive_key)]

    def new_session(self, knock: Callable[[], object]) -> None:
        """A handshake of ours and the packet that confirms it. `knock()` has the other side send us
        something; returns when it did so with the new keys."""
        before = len(self.sessions)
        with self._lock:
            peer = self.device.peers[self._other]
            peer.handshake_sent = peer.usable_since = -10**12  # the 5 s are not what is tested
            self._do(self.device.notice(self._other, KEY_NEEDED, self._now()))
        wait_until(lambda: len(self.sessions) > before, 60, "a session of ours")
        s = self.sessions[-1]
        empty = self._suite.seal(bytes(s.send_key), 0, b"", b"")
        self._socket.sendto(b"\4\0\0\0" + s.remote_index.to_bytes(4, "little") + bytes(8) + empty, self._where)
        wait_until(lambda: knock() and s.local_index in self._heard, 60, "the new keys are used", 0.1)

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        try:
            while True:
                datagram, self._where = self._socket.recvfrom(2048)
                if datagram[:1] == b"\4":
                    self._heard.add(int.from_bytes(datagram[4:8], "little"))
                elif datagram and datagram[0] in (1, 2, 3):
                    with self._lock:
                        self._do(self.device.receive(datagram, Endpoint(*self._where), self._now()))
        except OSError:
            pass

    def _do(self, todo: list) -> None:
        for effect in todo:
            if isinstance(effect, effects.SendToPeer):
                self._socket.sendto(effect.datagram, self._where)
            elif isinstance(effect, effects.InstallKeypair):
                self.sessions.append(effect)

    @staticmethod
    def _now() -> Instant:
        return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
