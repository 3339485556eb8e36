# distutils: language = c
"""Keys, peers and the two stages. The interface is documented in plane.pyi."""
cimport cython
from libc.errno cimport EINVAL, EMSGSIZE, ENOMEM, ENOSPC
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from wgpy._fast.core cimport *
from wgpy._fast.ports cimport Stage

from wgpy._fast.ports import DROP_TEXTS
from wgpy.constants import DEFAULT_MTU, HANDSHAKE_TOS, PLANE_PEERS, PLANE_PREFIXES, Lengths
from wgpy.errors import SuiteError, WgpyError
from wgpy.notices import Activity, Notice, PeerStats

include "endpoint.pxi"

include "plane_c.pxi"

_NAMES = tuple(DROP_TEXTS)

include "aead.pxi"

include "suite.pxi"


cdef unpack_lengths(wg_lengths l):
    return Lengths(l.initiation, l.response, l.cookie_reply, l.overhead)


cdef class CryptoStage(Stage):
    """Seal or open over one plane, for one queue."""
    cdef wg_seal_stage *seal
    cdef wg_open_stage *opens
    cdef object plane

    def __dealloc__(self):
        if self.seal != NULL:
            wipe(self.seal, sizeof(wg_seal_stage))
        if self.opens != NULL:
            wipe(self.opens, sizeof(wg_open_stage))
        free(self.seal)
        free(self.opens)

    cdef wg_seal_stage *_sealing(self) except NULL:
        if self.seal == NULL:
            raise AttributeError("only a stage that seals has an MTU")
        return self.seal

    @property
    def mtu(self) -> int:
        """Inner bytes at which padding stops."""
        return self._sealing().mtu

    @mtu.setter
    def mtu(self, uint32_t value):
        self._sealing().mtu = value


cdef void _collect(void *out, int family, const uint8_t *addr, unsigned cidr, uint32_t peer) noexcept with gil:
    (<dict>out).setdefault(peer, []).append((<bytes>addr[:4 if family == 4 else 16], cidr))


cdef list indices(const wg_freed *freed):
    return [freed.local[i] for i in range(freed.count)]


@cython.no_gc  # a collector that cleared `suite` first would leave __dealloc__ a table that is gone
cdef class Plane:
    cdef wg_plane *plane
    cdef const wg_macs *macs
    cdef LoadedSuite suite  # its tables are the plane's

    def __cinit__(self, *, uint32_t max_peers=PLANE_PEERS, uint32_t max_prefixes=PLANE_PREFIXES,
                  uint32_t queues=1, aead=None, LoadedSuite suite=None):
        cdef const char *why = NULL
        cdef const wg_aead *backend
        if not 1 <= queues <= WG_QUEUES_MAX:
            raise ValueError(f"queues must be 1 to {WG_QUEUES_MAX}")
        if not 1 <= max_peers <= 1 << 20:
            raise ValueError("max_peers must be 1 to 1048576")
        wanted = None if aead is None else aead.encode()
        if suite is not None:
            suite._table()
            if wanted is not None and wanted not in (b"auto", suite.suite.name):
                raise ValueError(f"AEAD backend {aead}: suite {suite.name} brings its own")
            self.suite, self.macs, backend = suite, &suite.suite.macs, &suite.suite.aead
        else:
            self.macs, backend = &macs_wireguard, aead_choose(NULL if wanted is None else <const char *>wanted, &why)
        if backend == NULL:
            raise ValueError(f"AEAD backend {aead}: {why.decode()}")
        self.plane = plane_new(max_peers, max_prefixes, queues, backend, self.macs)
        if self.plane == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.plane != NULL:
            plane_free(self.plane)

    cdef int _peer(self, uint32_t slot) except -1:
        if not plane_has(self.plane, slot):
            raise KeyError(slot)
        return 0

    @property
    def notice_fd(self) -> int:
        return self.plane.up.fd

    @property
    def aead(self) -> str:
        return self.plane.aead.name.decode()

    @property
    def lengths(self) -> Lengths:
        return unpack_lengths(self.plane.lengths)

    def seal_stage(self, uint32_t queue=0, uint32_t mtu=DEFAULT_MTU) -> CryptoStage:
        """The stage of a tun-to-udp pump; each queue's at most once at a time."""
        if queue >= self.plane.queues:
            raise ValueError(f"queue {queue} of {self.plane.queues}")
        cdef CryptoStage s = CryptoStage()
        s.plane = self
        s.seal = <wg_seal_stage *>calloc(1, sizeof(wg_seal_stage))
        if s.seal == NULL:
            raise MemoryError
        seal_stage_init(s.seal, self.plane, queue, mtu)
        s.stage = &s.seal.base.stage
        return s

    def open_stage(self, uint32_t queue=0) -> CryptoStage:
        """The stage of a udp-to-tun pump."""
        if queue >= self.plane.queues:
            raise ValueError(f"queue {queue} of {self.plane.queues}")
        cdef CryptoStage s = CryptoStage()
        s.plane = self
        s.opens = <wg_open_stage *>calloc(1, sizeof(wg_open_stage))
        if s.opens == NULL:
            raise MemoryError
        open_stage_init(s.opens, self.plane, queue)
        s.stage = &s.opens.base.stage
        return s

    def set_public_key(self, bytes key) -> None:
        if key is not None and len(key) != self.macs.public_size:
            raise ValueError(f"a public key has {self.macs.public_size} bytes")
        if not plane_set_key(self.plane, NULL if key is None else <const uint8_t *>key):
            raise SuiteError("the suite could not derive the keys of MACs")

    # --- peers ---

    def add_peer(self) -> int:
        cdef uint32_t slot = plane_add_peer(self.plane)
        if slot == WG_NO_PEER:
            raise WgpyError(f"no room for more than {self.plane.max_peers} peers")
        return slot

    def remove_peer(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_remove_peer(self.plane, slot)

    def set_endpoint(self, uint32_t slot, endpoint) -> None:
        cdef wg_endpoint e
        self._peer(slot)
        pack_endpoint(&e, endpoint)
        plane_set_endpoint(self.plane, slot, &e)

    def endpoint(self, uint32_t slot):
        cdef wg_endpoint e
        self._peer(slot)
        plane_get_endpoint(self.plane, slot, &e)
        return unpack_endpoint(&e)

    def clear_source(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_clear_source(self.plane, slot)

    def allow(self, uint32_t slot, bytes address not None, unsigned cidr) -> None:
        self._peer(slot)
        cdef int ret = plane_allow(self.plane, slot, address, len(address), cidr)
        if ret == -ENOSPC:
            raise WgpyError("no room for more allowed IPs")
        if ret:
            raise ValueError(f"no prefix: {address.hex()}/{cidr}")

    def disallow(self, uint32_t slot, bytes address not None, unsigned cidr) -> None:
        self._peer(slot)
        if plane_disallow(self.plane, slot, address, len(address), cidr) == -EINVAL:
            raise ValueError(f"no prefix: {address.hex()}/{cidr}")

    def disallow_all(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_disallow_all(self.plane, slot)

    def prefixes(self) -> dict:
        out = {}
        plane_prefixes(self.plane, _collect, <void *>out)
        return out

    @property
    def prefix_count(self) -> int:
        return plane_prefix_count(self.plane)

    def lookup(self, bytes address not None) -> int | None:
        """The slot whose allowed IPs hold the address."""
        if len(address) not in (4, 16):
            raise ValueError(f"no address: {address.hex()}")
        cdef uint32_t slot = plane_lookup(self.plane, address, len(address))
        return None if slot == WG_NO_PEER else slot

    # --- keypairs ---

    def install(self, uint32_t slot, *, uint32_t local_index, uint32_t remote_index, send_key,
                receive_key, bint initiator, uint64_t now) -> list:
        cdef wg_freed freed
        self._peer(slot)
        cdef const uint8_t[::1] send = send_key, receive = receive_key
        if send.shape[0] != self.plane.aead.key_size or receive.shape[0] != self.plane.aead.key_size:
            raise ValueError(f"keys have {self.plane.aead.key_size} bytes")
        cdef wg_keypair facts
        memset(&facts, 0, sizeof(facts))
        facts.initiator, facts.local, facts.remote, facts.birth = initiator, local_index, remote_index, now
        freed.count = 0
        if plane_install(self.plane, slot, &facts, &send[0], &receive[0], &freed):
            raise MemoryError
        return indices(&freed)

    def live_indices(self, uint32_t slot) -> list:
        cdef uint32_t out[KEYPAIRS]
        self._peer(slot)
        return [out[i] for i in range(plane_live_indices(self.plane, slot, out))]

    def expire(self, uint32_t slot, uint64_t now) -> list:
        self._peer(slot)
        return self._destroy(slot, now - WG_REJECT_AFTER_TIME) if now >= WG_REJECT_AFTER_TIME else []

    def wipe(self, uint32_t slot) -> list:
        self._peer(slot)
        return self._destroy(slot, <uint64_t>-1)

    cdef list _destroy(self, uint32_t slot, uint64_t born_before):
        cdef wg_freed freed
        freed.count = 0
        plane_expire(self.plane, slot, born_before, &freed)
        return indices(&freed)

    def set_counter(self, uint32_t slot, uint64_t counter) -> None:
        """Moves the current keypair's send counter forward, to test its limits."""
        self._peer(slot)
        plane_set_counter(self.plane, slot, counter)

    # --- effects down ---

    def await_response(self, uint32_t slot, index) -> None:
        self._peer(slot)
        if index is None:
            plane_await_none(self.plane, slot)
        else:
            plane_await(self.plane, slot, index)

    def keepalive(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_want(self.plane, slot, WANT_KEEPALIVE)

    def flush(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_want(self.plane, slot, WANT_FLUSH)

    def purge(self, uint32_t slot) -> int:
        self._peer(slot)
        return plane_purge(self.plane, slot)

    def send(self, bytes datagram not None, *, slot=None, endpoint=None, uint8_t tos=HANDSHAKE_TOS) -> None:
        cdef wg_endpoint e
        cdef uint32_t peer = WG_NO_PEER
        if slot is not None:
            self._peer(slot)
            peer = slot
        pack_endpoint(&e, endpoint)
        if plane_send(self.plane, datagram, len(datagram), peer, tos, &e) == -EMSGSIZE:
            raise ValueError(f"datagram of {len(datagram)} bytes")

    def received(self, uint32_t slot, uint32_t octets) -> None:
        """Counts a handshake message that turned out to be this peer's."""
        self._peer(slot)
        plane_received(self.plane, slot, octets)

    # --- notices up ---

    def notices(self) -> list:
        cdef wg_notice n
        plane_notices_begin(self.plane)
        out = []
        while plane_notices_next(self.plane, &n):
            out.append(Notice(n.slot, n.bits, n.promoted if n.bits & NOTICE_CONFIRMED else None))
        return out

    def handshakes(self, int limit=64) -> list:
        return self._taken(False, limit) + self._taken(True, max(limit // 8, 1))

    cdef list _taken(self, bint cookies, int limit):
        cdef wg_handshake h
        out = []
        while len(out) < limit and plane_take_handshake(self.plane, cookies, &h):
            out.append((<bytes>h.bytes[:h.len], unpack_endpoint(&h.endpoint)))
        return out

    @property
    def handshake_depth(self) -> int:
        return plane_handshake_depth(self.plane)

    def under_load(self, uint64_t now) -> bool:
        return plane_under_load(self.plane, now)

    def activity(self, uint32_t slot):
        cdef wg_activity a
        self._peer(slot)
        plane_activity(self.plane, slot, &a)
        return Activity(a.unanswered_since, a.unacknowledged_since, a.last_data_received, a.last_received, a.last_sent)

    def rearm(self, uint32_t slot, uint32_t bits) -> None:
        self._peer(slot)
        plane_rearm(self.plane, slot, bits)

    def stats(self, uint32_t slot):
        cdef wg_stats s
        self._peer(slot)
        plane_stats(self.plane, slot, &s)
        return PeerStats(s.rx_bytes, s.tx_bytes, s.rx_packets, s.tx_packets, s.staged)

    def drops(self) -> dict:
        return {_NAMES[i]: counted(&self.plane.drops[i]) for i in range(WG_DROP_COUNT)}
