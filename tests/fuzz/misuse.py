"""Calls every public name of the extension modules with right and wrong arguments, in any
order. Run as a program by test_misuse.py: `misuse.py SEED CALLS LOG`.

LOG's last line is the call that was under way when the process died. Beside it lies toy.so, the
library of a suite.
"""
import gc
import json
import mmap
import random
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

from wgpy._fast import plane as plane_module
from wgpy._fast import ports as ports_module
from wgpy._fast.plane import Plane, load_suite
from wgpy._fast.ports import Gate, MemoryPort, Port, Pump, Stage
from wgpy.errors import WgpyError
from wgpy.notices import Endpoint

REFUSED = (TypeError, ValueError, OverflowError, KeyError, IndexError, AttributeError, BufferError, MemoryError,
           RuntimeError, OSError, WgpyError)
NUMBERS = (-1, 0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 33, 128, 129, 255, 256, 1420, 65535, 65536, 2**31, 2**32 - 1,
           2**32, 2**63, 2**64 - 1, 2**64)
KEPT = 5  # things that are always there
LENGTHS = (0, 1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 64, 148, 1344, 1345, 65535, 65536)
BACKENDS = [name for name, supported, *_ in plane_module.aead_backends() if supported]

# Each public name with the kinds of its arguments; `key=kind` is passed by keyword.
MODULES = {
    "aead_backends": (), "aead_measure": ("backend", "length", "few"), "clock": (),
    "aead_seal": ("backend", "key", "number", "packet"), "aead_open": ("backend", "key", "number", "packet"),
    "load_suite": ("library",),
}
CLASSES = {
    "Port": (), "Stage": (), "GateStage": (), "CryptoStage": (), "Gate": ("port", "lengths"),
    "TunPort": ("fd", "merge_tcp=flag", "merge_udp=flag", "bare=flag", "overhead=few"), "UdpPort": ("fd", "fd", "fd", "fd", "gso=flag"),
    "MemoryPort": ("repeat=flag", "discard=flag"),
    "RingOut": ("area", "page", "bell", "bell", "datagrams=flag"),
    "RingIn": ("page", "area", "bell", "bell", "datagrams=flag"),
    "Pump": ("port", "stage", "port"),
    "Plane": ("max_peers=few", "max_prefixes=few", "queues=few", "aead=backend", "suite=suite"),
    "LoadedSuite": (),
}
METHODS = {
    "stats": (), "merges": (), "gso": (), "put": ("packet", "endpoint", "tos=byte"), "take": (), "stage": (),
    "tap": (), "run": ("few",), "step": ("number",), "stop": (), "drops": (), "threads": (), "mtu": (),
    "notice_fd": (), "aead": (), "lengths": (), "handshake_depth": (), "seal_stage": ("few", "number"), "open_stage": ("few",),
    "set_public_key": ("key",), "add_peer": (), "remove_peer": ("slot",), "set_endpoint": ("slot", "endpoint"),
    "endpoint": ("slot",), "clear_source": ("slot",), "allow": ("slot", "address", "few"),
    "disallow": ("slot", "address", "few"), "disallow_all": ("slot",), "prefixes": (), "prefix_count": (), "lookup": ("address",),
    "install": ("slot", "local_index=index", "remote_index=index", "send_key=key", "receive_key=key",
                "initiator=flag", "now=number"),
    "live_indices": ("slot",), "expire": ("slot", "number"), "wipe": ("slot",), "set_counter": ("slot", "number"),
    "await_response": ("slot", "number"), "keepalive": ("slot",), "flush": ("slot",), "purge": ("slot",),
    "send": ("packet", "slot=slot", "endpoint=endpoint", "tos=byte"), "received": ("slot", "number"),
    "notices": (), "handshakes": ("few",), "under_load": ("number",), "activity": ("slot",),
    "rearm": ("slot", "number"),
} | {
    # those of a suite, of sizes that tests/c/toy_suite.h has
    "name": (), "noise": (), "identifier": (), "entropy_size": (), "private_size": (), "public_size": (), "shared_size": (),
    "hash_size": (), "hash_block": (), "key_size": (), "tag_size": (), "mac_size": (), "cookie_key_size": (),
    "cookie_nonce_size": (), "cookie_tag_size": (), "test": (), "measure": ("length", "few"), "private": ("30",),
    "public": ("24",), "dh": ("24", "40"), "hash": ("packet",), "hmac": ("packet", "packet"), "kdf": ("packet", "packet", "few"),
    "mac": ("32", "packet"), "seal": ("20", "number", "packet", "packet"), "open": ("20", "number", "packet", "packet"),
    "cookie_seal": ("33", "15", "packet", "packet"), "cookie_open": ("33", "15", "packet", "packet"),
}
# With a slot the Plane's statistics are called, without one those of ports and pumps.
PLANE_METHODS = METHODS | {"stats": ("slot",)}


def public(thing) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


class Misuse:
    def __init__(self, seed: int, log, place: Path):
        self.random = random.Random(seed)
        self.log = log
        self.answered = Counter()
        self.pair = [s for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        for s in (*self.pair, self.udp):
            s.setblocking(False)
        self.library = open(place / "toy.so", "rb")
        self.suite = load_suite(self.library.fileno())
        self.things = [self.plane(), MemoryPort(), MemoryPort(), Gate(MemoryPort()), self.suite]
        self.running = None

    def plane(self) -> Plane:
        """With a peer that has a key, so that stages have something to do."""
        plane = Plane(max_peers=4, max_prefixes=8, queues=2)
        plane.install(plane.add_peer(), local_index=1, remote_index=1, send_key=bytes(32), receive_key=bytes(32),
                      initiator=True, now=ports_module.clock())
        plane.allow(0, bytes(4), 0)
        return plane

    def one_of(self, *classes):
        found = [t for t in self.things if isinstance(t, classes)]
        return self.random.choice(found) if found else None

    def wild(self):
        """Anything at all."""
        r = self.random
        return r.choice((None, True, r.choice(NUMBERS), 1.5, "", "text", b"", bytes(r.choice(LENGTHS)),
                         bytearray(r.choice(LENGTHS)), memoryview(bytes(r.choice(LENGTHS))), [], (), {}, object(),
                         [None] * 17, r.choice(self.things), type(r.choice(self.things)), Endpoint("::1", 1)))

    def right(self, kind: str):
        r = self.random
        match kind:
            case "backend": return r.choice(BACKENDS)
            case "key": return bytes(32)
            case "number": return r.choice(NUMBERS)
            case "index": return r.choice((0, 1, 2, 2**32 - 1, 2**32))
            case "few": return r.choice((0, 1, 1, 2, 3, 8, 16))
            case "suite": return r.choice((None, self.suite))
            case "library": return r.choice((-1, 0, self.library.fileno()))
            case "byte": return r.choice((0, 136, 255, 255, 256))
            case "slot": return r.choice((0, 0, 1, 2))
            case "flag": return r.random() < 0.5
            case "length": return r.choice(LENGTHS)
            case "packet": return self.packet()
            case "address": return bytes(r.choice((4, 16)))
            case "endpoint": return r.choice((None, Endpoint("127.0.0.1", 9), Endpoint("::1", 9, "::1", 1)))
            # never that of a pipe that blocks
            case "fd": return r.choice((-1, 9999, self.udp.fileno(), self.pair[0].fileno()))
            case "area": return r.choice((mmap.mmap(-1, 2**20), bytearray(2**18)))
            case "page": return r.choice((mmap.mmap(-1, 4096), mmap.mmap(-1, 4096), bytearray(4096)))
            case "bell": return r.choice(((-1, None, 0), (-1, bytearray(4), 7), (9999, None, 1)))
            case "lengths": return r.choice((None, (148, 92, 64, 32), (0, 1, 2**32 - 1, 48), (1, 1, 1, 2**32 - 1)))
            case "port": return self.one_of(Port)
            case "stage": return r.choice((None, self.one_of(Stage), [s for s in self.things if isinstance(s, Stage)][:3]))
        return bytes(int(kind))

    def packet(self) -> bytes:
        head = self.random.choice((b"\x45\0\0\x20", b"\x60\0\0\0", b"\1\0\0\0", b"\4\0\0\0", b""))
        return head + self.random.randbytes(self.random.choice(LENGTHS))

    def arguments(self, kinds):
        positional, named = [], {}
        for kind in kinds:
            name, _, of = kind.rpartition("=")
            value = self.wild() if self.random.random() < 0.12 else self.right(of)
            if name and self.random.random() < 0.9:
                named[name] = value
            else:
                positional.append(value)
        roll = self.random.random()
        if roll < 0.03:
            positional.append(self.wild())
        elif roll < 0.06 and positional:
            positional.pop()
        return positional, named

    def call(self, where, name: str, kinds) -> None:
        positional, named = self.arguments(kinds)
        kind = where.__name__ if isinstance(where, type) or hasattr(where, "__file__") else type(where).__name__
        print(f"{kind}.{name} {[repr(v)[:60] for v in positional]} { {k: repr(v)[:60] for k, v in named.items()} }",
              file=self.log, flush=True)
        try:
            if name == "run":
                where.stop()
            got = getattr(where, name)
            got = got(*positional, **named) if callable(got) else got
        except REFUSED:
            return
        self.answered[name] += 1
        if isinstance(got, (Port, Stage, Gate, Pump, Plane)):
            self.things.append(got)

    def let_run(self) -> None:
        """One pump on a thread of its own, until the next is wanted."""
        if self.running:
            pump, thread = self.running
            pump.stop()
            thread.join(120)
            assert not thread.is_alive(), "a pump does not stop"
            self.running = None
        elif pump := self.one_of(Pump):
            print("running", pump, file=self.log, flush=True)

            def run():
                try:
                    pump.run()
                except REFUSED:
                    pass
            self.running = pump, threading.Thread(target=run)
            self.running[1].start()

    def turn(self) -> None:
        roll = self.random.random()
        if roll < 0.2:
            self.call(*self.constructor())
        elif roll < 0.22:
            name = self.random.choice(sorted(MODULES))
            self.call(plane_module if hasattr(plane_module, name) else ports_module, name, MODULES[name])
        elif roll < 0.25:
            self.let_run()
        elif roll < 0.27 and len(self.things) > 12:
            print("forget", file=self.log, flush=True)
            del self.things[self.random.randrange(KEPT, len(self.things))]
            gc.collect()
        else:
            kind = self.random.choice(sorted({type(t).__name__ for t in self.things if public(t)}))
            thing = self.random.choice([t for t in self.things if type(t).__name__ == kind])
            name = self.random.choice(sorted(public(thing)))
            self.call(thing, name, (PLANE_METHODS if isinstance(thing, Plane) else METHODS)[name])
        while len(self.things) > 40:
            del self.things[self.random.randrange(KEPT, 40)]

    def constructor(self):
        name = self.random.choice(sorted(CLASSES))
        where = plane_module if name in ("Plane", "CryptoStage", "LoadedSuite") else ports_module
        return where, name, CLASSES[name]


def main(seed: str, calls: str, log: str) -> None:
    with open(log, "w", buffering=1) as out:
        misuse = Misuse(int(seed), out, Path(log).parent)
        for _ in range(int(calls)):
            misuse.turn()
        if misuse.running:
            misuse.let_run()
        misuse.things.clear()
        gc.collect()
    json.dump(misuse.answered, sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
