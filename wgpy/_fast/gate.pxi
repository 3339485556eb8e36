# The gate of the black room (gate.h).
cdef extern from "gate.h" nogil:
    struct wg_gate:
        wg_stage stage, tap
        wg_counter evicted
    void gate_init(wg_gate *, const uint64_t *, wg_port *)
    void gate_free(wg_gate *)


cdef class GateStage(Stage):
    cdef Gate gate


cdef class Gate:
    """Passes datagrams of WireGuard form; those of sources that crypto has answered first.
    stage() goes between the sockets and `sink`, the port to crypto, tap() on the way back,
    where it learns which sources crypto talks to. Drops: not_wireguard, ring_share."""
    cdef wg_gate *gate
    cdef Port sink

    def __cinit__(self, Port sink not None):
        if sink.port == NULL:
            raise ValueError("a port that is none")
        cdef uint64_t seed[2]
        self.gate = <wg_gate *>calloc(1, sizeof(wg_gate))
        if self.gate == NULL:
            raise MemoryError
        random = urandom(16)
        memcpy(seed, <const uint8_t *>random, 16)
        self.sink = sink
        gate_init(self.gate, seed, sink.port)

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
