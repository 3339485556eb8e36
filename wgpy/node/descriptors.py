"""What each room is given at each of its starts: options, and descriptors by name. The
rings are made here without being mapped, and what opens keys is passed on without being
read. The rooms' ends are copies; who starts a room closes them."""

import os
from collections.abc import Callable
from typing import Any

from wgpy.constants import LENGTHS
from wgpy.crypto import stamps
from wgpy.environment import queues
from wgpy.isolate.library import Library
from wgpy.node.namespaces import Namespaces
from wgpy.ring.backing import MemfdLane, MemfdRing
from wgpy.rooms.control import of_text

Given = tuple[dict[str, Any], dict[str, int]]

_RINGS = {"red-crypto": ("red", "crypto"), "crypto-black": ("crypto", "black"),
          "black-crypto": ("black", "crypto"), "crypto-red": ("crypto", "red")}
_SPEAKERS = ("black", "red")  # on lanes to crypto


class Descriptors:
    """`text`: of the site file that crypto reads at its next start. `credentials`: what
    crypto gets each time, by name; `keys()` makes new descriptors of the key store. `library`: of the
    suite, which crypto alone gets; black and red are told lengths."""

    def __init__(self, net: Namespaces, text: bytes, credentials: dict[str, int], keys: Callable[[], dict[str, int]],
                 library: Library | None = None):
        self._net, self.text, self._credentials, self._keys = net, text, credentials, keys
        self._rings: dict[str, MemfdRing] = {}
        self._lanes: dict[str, MemfdLane] = {}
        self._library = library
        self._lengths = library.facts.lengths if library else LENGTHS
        self._stamps = stamps.memory()  # crypto's own, across its restarts

    def make_rings(self) -> None:
        """And lanes. OSError, HostError."""
        for name in _RINGS:
            self._rings[name] = MemfdRing.create(name)
        for name in _SPEAKERS:
            self._lanes[name] = MemfdLane.create(name)

    def close(self) -> None:
        """The rings and lanes. Idempotent."""
        for ring in self._rings.values():
            ring.close()
        for lane in self._lanes.values():
            lane.close()
        self._rings, self._lanes = {}, {}

    def black(self) -> Given:
        """Its rings and lane, its network namespace, and the UDP sockets that the host has."""
        return ({"wan": self._net.site.wan.interface, "lengths": list(self._lengths)},
                self._ring_ends("black") | {"netns": self._net.open_in("black")} | self._net.the_sockets().copies())

    def red(self) -> Given:
        """HostError when there is no tunnel interface."""
        options, fds = self._net.the_tun().copies()
        return options | {"overhead": self._lengths.overhead}, self._ring_ends("red") | {"netns": self._net.open_in("red")} | fds

    def crypto(self, **options: object) -> Given:
        """Its rings, both lanes, the site's text, the memory of stamps, and whatever opens the key store.
        `options` are told with it."""
        fds = self._ring_ends("crypto") | {"site": of_text(self.text), "stamps": os.dup(self._stamps)}
        if self._library is not None:
            fds["suite"] = os.dup(self._library.fd)
        for name, lane in self._lanes.items():
            fds |= dict(zip((f"lane.{name}", f"bell.{name}"), lane.reader_fds()))
        fds |= {name: os.dup(fd) for name, fd in self._credentials.items()} | self._keys()
        return {"aead": os.environ.get("WGPY_AEAD"), "queues": queues()} | options, fds

    def _ring_ends(self, room: str) -> dict[str, int]:
        fds: dict[str, int] = {}
        for name, (producer, consumer) in _RINGS.items():
            if room in (producer, consumer):
                ring = self._rings[name]
                ends = ring.producer_fds() if room == producer else ring.consumer_fds()
                fds |= dict(zip((f"ring.{name}.{part}" for part in ("own", "theirs", "data", "space")), ends))
        if room in _SPEAKERS:
            fds |= dict(zip((f"lane.{room}", f"bell.{room}"), self._lanes[room].writer_fds()))
        return fds
