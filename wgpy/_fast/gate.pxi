# The gate of the black room (gate.h).
cdef extern from "ports/gate.h" nogil:
    struct wg_gate:
        wg_stage stage, tap
        wg_counter evicted
    void gate_init(wg_gate *, const uint64_t *, wg_port *, const wg_lengths *)
    void gate_free(wg_gate *)


cdef class GateStage(Stage):
    cdef Gate gate


cdef class Gate:
    """Passes datagrams of WireGuard form; those of sources that crypto has answered first.
    stage() goes between the sockets and `sink`, the port to crypto, tap() on the way back,
    where it learns which sources crypto talks to. Drops: not_wireguard, ring_share.
    `lengths`: those of the suite that crypto has."""
    cdef wg_gate *gate
    cdef Port sink

    def __cinit__(self, Port sink not None, lengths=LENGTHS):
        if sink.port == NULL:
            raise ValueError("a port that is none")
        cdef uint64_t seed[2]
        cdef wg_lengths bounds = pack_lengths(lengths)
        self.gate = <wg_gate *>calloc(1, sizeof(wg_gate))
        if self.gate == NULL:
            raise MemoryError
        random = urandom(16)
        memcpy(seed, <const uint8_t *>random, 16)
        self.sink = sink
        gate_init(self.gate, seed, sink.port, &bounds)

    def __dealloc__(self):
        if self.gate != NULL:
            gate_free(self.gate)
        free(self.gate)

    def stage(self) -> Stage:
        return self._stage(&self.gate.stage)

    def tap(self) -> Stage:
        return self._stage(&self.gate.tap)

    def stats(self) -> dict:
        """`evicted`: answered sources forgotten before their time: the table was full."""
        return {"evicted": counted(&self.gate.evicted)}

    cdef Stage _stage(self, wg_stage *stage):
        made = GateStage()
        (<GateStage>made).gate = self
        (<GateStage>made).stage = stage
        return made


cdef wg_lengths pack_lengths(lengths) except *:
    cdef wg_lengths l
    l.initiation, l.response, l.cookie_reply, l.overhead = lengths
    overhead_of(l.overhead)
    return l


cdef uint32_t overhead_of(uint32_t overhead) except 0:
    if not WG_HEADER < overhead <= WG_HEADER + WG_TAILROOM:
        raise ValueError(f"no suite makes packets {overhead} bytes longer")
    return overhead
