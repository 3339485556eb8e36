# distutils: language = c
"""Keys, peers and the two stages. The interface is documented in plane.pyi."""
from libc.errno cimport EINVAL, EMSGSIZE, ENOSPC
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from wgpy._fast.core cimport *
from wgpy._fast.ports cimport Stage

from wgpy._fast.ports import DROP_TEXTS
from wgpy.errors import WgpyError
from wgpy.notices import Activity, PeerStats

include "endpoint.pxi"

include "plane_c.pxi"

_NAMES = tuple(DROP_TEXTS)
cdef uint64_t REJECT_AFTER_TIME = 180000000000

include "aead.pxi"


cdef class CryptoStage(Stage):
    """Seal or open over one plane, for one queue."""
    cdef wg_crypto_stage *crypto
    cdef object plane

    def __cinit__(self):
        self.crypto = <wg_crypto_stage *>calloc(1, sizeof(wg_crypto_stage))
        if self.crypto == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.crypto != NULL:
            wipe(self.crypto, sizeof(wg_crypto_stage))
        free(self.crypto)

    @property
    def mtu(self) -> int:
        """Inner bytes at which padding stops."""
        return self.crypto.mtu

    @mtu.setter
    def mtu(self, uint32_t value):
        self.crypto.mtu = value


cdef void _collect(void *out, int family, const uint8_t *addr, unsigned cidr, uint32_t peer) noexcept with gil:
    (<dict>out).setdefault(peer, []).append((<bytes>addr[:4 if family == 4 else 16], cidr))


cdef class Plane:
    cdef wg_plane *plane

    def __cinit__(self, *, uint32_t max_peers=1024, uint32_t max_prefixes=131072,
                  uint32_t queues=1, aead=None, int transport=1):
        cdef const char *why = NULL
        if transport != 1:
            raise ValueError(f"unknown transport id {transport}")
        if not 1 <= queues <= WG_QUEUES_MAX:
            raise ValueError(f"queues must be 1 to {WG_QUEUES_MAX}")
        if not 1 <= max_peers <= 1 << 20:
            raise ValueError("max_peers must be 1 to 1048576")
        wanted = None if aead is None else aead.encode()
        cdef const wg_aead *backend = aead_choose(NULL if wanted is None else <const char *>wanted, &why)
        if backend == NULL:
            raise ValueError(f"AEAD backend {aead}: {why.decode()}")
        self.plane = plane_new(max_peers, max_prefixes, queues, backend, &macs_wireguard)
        if self.plane == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.plane != NULL:
            plane_free(self.plane)

    cdef wg_peer *_peer(self, uint32_t slot) except NULL:
        if slot >= self.plane.max_peers or not self.plane.peer[slot].used:
            raise KeyError(slot)
        return &self.plane.peer[slot]

    @property
    def notice_fd(self) -> int:
        return self.plane.up.fd

    @property
    def aead(self) -> str:
        return self.plane.aead.name.decode()

    def seal_stage(self, uint32_t queue=0, uint32_t mtu=1420) -> CryptoStage:
        """The stage of a tun-to-udp pump; each queue's at most once at a time."""
        if queue >= self.plane.queues:
            raise ValueError(f"queue {queue} of {self.plane.queues}")
        cdef CryptoStage s = CryptoStage()
        s.plane = self
        seal_stage_init(s.crypto, self.plane, queue, mtu)
        s.stage = &s.crypto.stage
        return s

    def open_stage(self, uint32_t queue=0) -> CryptoStage:
        """The stage of a udp-to-tun pump."""
        if queue >= self.plane.queues:
            raise ValueError(f"queue {queue} of {self.plane.queues}")
        cdef CryptoStage s = CryptoStage()
        s.plane = self
        open_stage_init(s.crypto, self.plane, queue)
        s.stage = &s.crypto.stage
        return s

    def set_public_key(self, bytes key) -> None:
        if key is not None and len(key) != 32:
            raise ValueError("a public key has 32 bytes")
        plane_set_key(self.plane, NULL if key is None else <const uint8_t *>key)

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
        trie_walk(self.plane.trie, WG_NO_PEER, _collect, <void *>out)
        return out

    @property
    def prefix_count(self) -> int:
        return trie_count(self.plane.trie)

    def lookup(self, bytes address not None) -> int | None:
        """The slot whose allowed IPs hold the address."""
        if len(address) not in (4, 16):
            raise ValueError(f"no address: {address.hex()}")
        cdef uint32_t slot = plane_lookup(self.plane, address, len(address))
        return None if slot == WG_NO_PEER else slot

    # --- keypairs ---

    def install(self, uint32_t slot, *, uint32_t local_index, uint32_t remote_index, send_key,
                receive_key, bint initiator, uint64_t now) -> None:
        self._peer(slot)
        cdef const uint8_t[::1] send = send_key, receive = receive_key
        if send.shape[0] != 32 or receive.shape[0] != 32:
            raise ValueError("keys have 32 bytes")
        cdef wg_keypair facts
        memset(&facts, 0, sizeof(facts))
        facts.initiator, facts.local, facts.remote, facts.birth = initiator, local_index, remote_index, now
        if plane_install(self.plane, slot, &facts, &send[0], &receive[0]):
            raise MemoryError

    def live_indices(self, uint32_t slot) -> list:
        cdef uint32_t out[3]
        self._peer(slot)
        return [out[i] for i in range(plane_live_indices(self.plane, slot, out))]

    def expire(self, uint32_t slot, uint64_t now) -> None:
        self._peer(slot)
        if now >= REJECT_AFTER_TIME:
            plane_expire(self.plane, slot, now - REJECT_AFTER_TIME)

    def wipe(self, uint32_t slot) -> None:
        self._peer(slot)
        plane_expire(self.plane, slot, <uint64_t>-1)

    def set_counter(self, uint32_t slot, uint64_t counter) -> None:
        """Moves the current keypair's send counter forward, to test its limits."""
        cdef wg_peer *peer = self._peer(slot)
        if peer.current < KEYPAIRS:
            set_relaxed(&peer.keypair[peer.current].counter, counter)

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

    def send(self, bytes datagram not None, *, slot=None, endpoint=None, uint8_t tos=0x88) -> None:
        cdef wg_endpoint e
        cdef uint32_t peer = WG_NO_PEER
        if slot is not None:
            self._peer(slot)
            peer = slot
        pack_endpoint(&e, endpoint)
        cdef int ret = -EMSGSIZE
        if len(datagram) <= WG_LANE_BYTES:
            ret = lane_put(&self.plane.to_udp, datagram, <uint32_t>len(datagram), peer, tos, &e)
        if ret == -EMSGSIZE:
            raise ValueError(f"datagram of {len(datagram)} bytes")
        if ret:
            self.plane.drops[_NAMES.index("lane_full")] += 1
            return
        if peer != WG_NO_PEER:
            self._count(peer, 0, len(datagram))
        wake(&self.plane.seal_waker)

    def received(self, uint32_t slot, uint32_t octets) -> None:
        """Counts a handshake message that turned out to be this peer's."""
        self._peer(slot)
        self._count(slot, octets, 0)

    cdef void _count(self, uint32_t slot, uint64_t rx, uint64_t tx):
        cdef wg_peer *peer = &self.plane.peer[slot]
        with nogil:
            add_atomic(&peer.rx_bytes, rx)
            add_atomic(&peer.tx_bytes, tx)

    # --- notices up ---

    def notices(self) -> list:
        cdef uint32_t slot, bits
        wake_clear(&self.plane.up)
        out = []
        while marks_take(&self.plane.notices, &slot, &bits):
            out.append((slot, bits))
        if self.handshake_depth:
            wake(&self.plane.up)
        return out

    def handshakes(self, int limit=64) -> list:
        return self._taken(&self.plane.handshakes, limit) + self._taken(&self.plane.cookies, max(limit // 8, 1))

    cdef list _taken(self, wg_handshakes *queue, int limit):
        cdef wg_handshake h
        out = []
        while len(out) < limit and handshakes_take(queue, &h):
            out.append((<bytes>h.bytes[:h.len], unpack_endpoint(&h.endpoint)))
        return out

    @property
    def handshake_depth(self) -> int:
        return handshakes_depth(&self.plane.handshakes) + handshakes_depth(&self.plane.cookies)

    def under_load(self, uint64_t now) -> bool:
        return admission_under_load(&self.plane.admission, now)

    def activity(self, uint32_t slot):
        cdef wg_peer *p = self._peer(slot)
        return Activity(relaxed(&p.unanswered_since), relaxed(&p.unacknowledged_since),
                        relaxed(&p.last_data_received), relaxed(&p.last_received), relaxed(&p.last_sent))

    def rearm(self, uint32_t slot, uint32_t bits) -> None:
        self._peer(slot)
        plane_rearm(self.plane, slot, bits)

    def stats(self, uint32_t slot):
        cdef wg_peer *p = self._peer(slot)
        return PeerStats(relaxed(&p.rx_bytes), relaxed(&p.tx_bytes), relaxed(&p.rx_packets),
                         relaxed(&p.tx_packets), p.staged.count)

    def drops(self) -> dict:
        return {_NAMES[i]: counted(&self.plane.drops[i]) for i in range(WG_DROP_COUNT)}
