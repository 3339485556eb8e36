# distutils: language = c
"""Ports and pumps: bytes in, bytes out. No cryptography in this module."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from wgpy._fast.core cimport *

from wgpy.constants import LENGTHS, TRANSPORT_OVERHEAD

include "endpoint.pxi"

cdef extern from *:
    """
    #include "core/drops.h"
    #define X(name, text) #name,
    static const char *const drop_names[] = {WG_DROPS(X)};
    #undef X
    #define X(name, text) text,
    static const char *const drop_texts[] = {WG_DROPS(X)};
    #undef X
    """
    const char *drop_names[1]
    const char *drop_texts[1]

cdef extern from "ports/offload.h" nogil:
    enum: MERGE_TCP, MERGE_UDP

cdef extern from "ports/ports.h" nogil:
    struct wg_port_tun:
        wg_port port
        unsigned merge
    void port_tun_init(wg_port_tun *, int, unsigned, bint, uint32_t)
    struct wg_port_udp:
        wg_port port
        bint gso
        wg_counter gso_refused
    struct wg_udp_sockets:
        int transport[2]
        int aside[2]
    int port_udp_init(wg_port_udp *, const wg_udp_sockets *, bint)
    void port_udp_free(wg_port_udp *)
    struct wg_mem_entry:
        uint32_t len
        uint8_t tos
        wg_endpoint endpoint
        uint8_t *bytes
    struct wg_port_mem:
        wg_port port
    int port_mem_init(wg_port_mem *, bint, bint)
    void port_mem_free(wg_port_mem *)
    bint port_mem_put(wg_port_mem *, const uint8_t *, uint32_t, uint8_t, const wg_endpoint *)
    bint port_mem_take(wg_port_mem *, wg_mem_entry *)
    void port_mem_drop(wg_mem_entry *)

cdef extern from "ring/ring.h" nogil:
    enum: RING_CONSUMER_SIZE
    struct wg_doorbell:
        int fd
        uint32_t *emit
        uint32_t value
    struct wg_ring_options:
        bint datagrams
        uint32_t seed
    struct wg_ring_end:
        wg_counter attaches, kicks
    struct wg_ring_out:
        wg_port port
        wg_ring_end end
        wg_counter waits
    struct wg_ring_in:
        wg_port port
        wg_ring_end end
        wg_counter bad_index, bad_record
    int ring_out_init(wg_ring_out *, uint8_t *, size_t, const uint8_t *, wg_doorbell, wg_doorbell,
                     wg_ring_options)
    int ring_in_init(wg_ring_in *, uint8_t *, const uint8_t *, size_t, wg_doorbell, wg_doorbell,
                     wg_ring_options)

DROP_TEXTS = {drop_names[i].decode(): drop_texts[i].decode() for i in range(WG_DROP_COUNT)}
_NAMES = tuple(DROP_TEXTS)


cdef class Port:
    """A place where packets come from or go to."""

    cdef wg_port *_made(self) except NULL:
        if self.port == NULL:
            raise TypeError("this class is the base of ports, and no port")
        return self.port

    def stats(self) -> dict:
        """Counters since the start: packets, bytes and system calls each way."""
        cdef wg_port *p = self._made()
        return {
            "packets_in": counted(&p.packets_in), "packets_out": counted(&p.packets_out),
            "bytes_in": counted(&p.bytes_in), "bytes_out": counted(&p.bytes_out),
            "calls_in": counted(&p.calls_in), "calls_out": counted(&p.calls_out),
        }


cdef class TunPort(Port):
    """A TUN queue with a virtio-net header, unless it is `bare`: then each packet takes a
    call. `overhead`: bytes that sealing will add to a packet, see Lengths. The caller keeps the
    descriptor open for as long as a pump runs."""
    cdef wg_port_tun *tun  # holds the packet that was read last

    def __cinit__(self, int fd, *, bint merge_tcp=True, bint merge_udp=True, bint bare=False,
                  uint32_t overhead=TRANSPORT_OVERHEAD):
        self.tun = <wg_port_tun *>calloc(1, sizeof(wg_port_tun))
        if self.tun == NULL:
            raise MemoryError
        port_tun_init(self.tun, fd, (MERGE_TCP if merge_tcp else 0) | (MERGE_UDP if merge_udp else 0), bare,
                      overhead_of(overhead))
        self.port = &self.tun.port

    def __dealloc__(self):
        if self.tun != NULL:
            wipe(self.tun, sizeof(wg_port_tun))
        free(self.tun)

    @property
    def merges(self) -> tuple:
        """What is merged on its way into the TUN; shrinks if the kernel refuses."""
        names = (("tcp", MERGE_TCP), ("udp", MERGE_UDP))
        return tuple(name for name, bit in names if self.tun.merge & bit)


cdef class UdpPort(Port):
    """An IPv4 and an IPv6 socket for transport messages, and one each for all others; -1 where
    there is none: the first then get everything. The caller keeps them open for as long as a
    pump runs."""
    cdef wg_port_udp *udp

    def __cinit__(self, int fd4, int fd6, int aside4=-1, int aside6=-1, *, bint gso=True):
        cdef wg_udp_sockets sockets
        sockets.transport[0], sockets.transport[1] = fd4, fd6
        sockets.aside[0], sockets.aside[1] = aside4, aside6
        self.udp = <wg_port_udp *>calloc(1, sizeof(wg_port_udp))
        if self.udp == NULL or port_udp_init(self.udp, &sockets, gso):
            raise MemoryError
        self.port = &self.udp.port

    def __dealloc__(self):
        if self.udp != NULL:
            port_udp_free(self.udp)
        free(self.udp)

    @property
    def gso(self) -> bool:
        """Whether runs are sent as one; latched off when a device cannot."""
        return self.udp.gso

    def stats(self) -> dict:
        return Port.stats(self) | {"gso_refused": counted(&self.udp.gso_refused)}


cdef class MemoryPort(Port):
    """A bounded queue of packets, for tests and benchmarks. `repeat`: as a source it
    gives the same packets for ever; `discard`: as a sink it only counts."""
    cdef wg_port_mem *mem

    def __cinit__(self, *, bint repeat=False, bint discard=False):
        self.mem = <wg_port_mem *>calloc(1, sizeof(wg_port_mem))
        if self.mem == NULL:
            raise MemoryError
        if port_mem_init(self.mem, repeat, discard):
            raise MemoryError
        self.port = &self.mem.port

    def __dealloc__(self):
        if self.mem != NULL:
            port_mem_free(self.mem)
        free(self.mem)

    def put(self, bytes packet not None, endpoint=None, *, uint8_t tos=0) -> bool:
        """Queues a copy; False when 1024 packets wait already."""
        cdef wg_endpoint e
        pack_endpoint(&e, endpoint)
        if len(packet) > WG_PACKET_MAX:
            raise ValueError(f"packet of {len(packet)} bytes")
        return port_mem_put(self.mem, packet, <uint32_t>len(packet), tos, &e)

    def take(self) -> list:
        """Everything queued, as (bytes, endpoint or None, tos)."""
        cdef wg_mem_entry e
        out = []
        while port_mem_take(self.mem, &e):
            try:
                out.append((<bytes>e.bytes[:e.len], unpack_endpoint(&e.endpoint), e.tos))
            finally:
                port_mem_drop(&e)
        return out


include "rings.pxi"


cdef class Stage:
    pass


include "gate.pxi"


cdef class Pump:
    """Moves packets from `source` through `stage` (None: as they are) to `sink`. With a
    sequence of stages, of queues of one plane and the first of queue 0, as many `threads`
    share the work, and packets leave in the order in which they came. While a pump runs,
    its ports and stages are its own: another that has one of them raises RuntimeError."""

    def __cinit__(self, Port source not None, stage, Port sink not None):
        stages = tuple(stage) if isinstance(stage, (tuple, list)) else (stage,)
        if not 1 <= len(stages) <= WG_QUEUES_MAX or len(set(stages)) < len(stages):
            raise ValueError(f"a pump has 1 to {WG_QUEUES_MAX} different stages")
        if source._made().receive == NULL or sink._made().send == NULL:
            raise TypeError(f"nothing comes from {source!r} or nothing goes to {sink!r}")
        self.pump = <wg_pump *>calloc(len(stages), sizeof(wg_pump))
        if self.pump == NULL:
            raise MemoryError
        self.source, self.stages, self.sink = source, stages, sink
        self.threads = <uint32_t>len(stages)
        cdef wg_stage *made
        for one in stages:
            made = _c_stage(one, len(stages) > 1)
            if made != NULL and made.run != (<Stage>stages[0]).stage.run:
                raise TypeError("the stages of a pump do the same")
            self.ready += 1  # from here on there is something to free
            if pump_init(&self.pump[self.ready - 1], source.port, made, sink.port):
                raise MemoryError
        if self.threads > 1:
            group_init(&self.group, self.pump, self.threads)

    def __dealloc__(self):
        for i in range(self.ready):
            pump_free(&self.pump[i])
        if self.group.n:
            group_free(&self.group)
        free(self.pump)

    def run(self, uint32_t thread=0) -> int:
        """Runs on the calling thread without the GIL until stop(). 0, or the errno
        with which the source ended. With several `threads`, one call for each number below
        that; when the source ends all return, and one of them the errno."""
        cdef int ret
        if thread >= self.threads:
            raise ValueError(f"thread {thread} of {self.threads}")
        self._enter(1u << thread)
        with nogil:
            ret = pump_run(&self.pump[thread])
        self._leave(1u << thread)
        return -ret

    def step(self, uint64_t now=0) -> int:
        """One turn without sleeping, at `now` ns (0: the clock's). Packets handled.
        Only while run() is not running. OSError when the source is gone."""
        cdef int ret
        self._enter(<uint32_t>-1)
        with nogil:
            ret = pump_step(self.pump, now)
        self._leave(<uint32_t>-1)
        if ret < 0:
            raise OSError(-ret, "the port is gone")
        return ret

    def stop(self) -> None:
        """Makes run() return soon; may be called from any thread."""
        for i in range(self.threads):
            pump_stop(&self.pump[i])

    cdef int _enter(self, uint32_t threads) except -1:
        if self.running & threads:
            raise RuntimeError("the pump runs already")
        if not self.running:
            if self.source.receiver != NULL or self.sink.sender != NULL:
                raise RuntimeError("another pump that runs has the same port")
            for stage in self.stages:
                if stage is not None and (<Stage>stage).runner != NULL:
                    raise RuntimeError("another pump that runs has the same stage")
            self._claim(self.pump)
        self.running |= threads
        return 0

    cdef void _leave(self, uint32_t threads) noexcept:
        self.running &= ~threads
        if not self.running:
            self._claim(NULL)

    cdef void _claim(self, wg_pump *by) noexcept:
        self.source.receiver = self.sink.sender = by
        for stage in self.stages:
            if stage is not None:
                (<Stage>stage).runner = by

    def drops(self) -> dict:
        """Packets dropped by this pump, by reason, since its start."""
        return {_NAMES[reason]: sum([counted(&self.pump[i].batch.drops[reason]) for i in range(self.threads)])
                for reason in range(WG_DROP_COUNT)}

    def stats(self) -> dict:
        return {"batches": sum([counted(&self.pump[i].batches) for i in range(self.threads)]),
                "sleeps": sum([counted(&self.pump[i].sleeps) for i in range(self.threads)])}


cdef wg_stage *_c_stage(stage, bint shared) except? NULL:
    if stage is None and not shared:
        return NULL
    if not isinstance(stage, Stage) or (<Stage>stage).stage == NULL:
        raise TypeError(f"{stage!r} is no stage")
    return (<Stage>stage).stage


def clock() -> int:
    """CLOCK_BOOTTIME in ns, as pumps stamp their batches."""
    return pump_clock()
