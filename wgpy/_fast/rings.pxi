# Ring ports over buffers that a backing has mapped (wgpy.ring.backing).
from os import urandom


cdef class RingOut(Port):
    """The producer's end. `own`: writable buffer, the producer's area; `theirs`: the
    consumer's page; `data`, `space`: doorbells as (descriptor, emit buffer or None).
    ValueError when a buffer is too small."""
    cdef wg_ring_out *out
    cdef object keep

    def __cinit__(self, uint8_t[::1] own, const uint8_t[::1] theirs, data, space):
        if theirs.shape[0] < 4096:
            raise ValueError("the consumer's page is too small")
        self.out = <wg_ring_out *>calloc(1, sizeof(wg_ring_out))
        if self.out == NULL:
            raise MemoryError
        self.keep = (own, theirs, data, space)
        if ring_out_init(self.out, &own[0], own.shape[0], &theirs[0], _doorbell(data), _doorbell(space),
                         int.from_bytes(urandom(4), "little")):
            raise ValueError(f"a ring cannot have {own.shape[0]} bytes")
        self.port = &self.out.port

    def __dealloc__(self):
        free(self.out)

    def stats(self) -> dict:
        return Port.stats(self) | {"attaches": counted(&self.out.attaches), "waits": counted(&self.out.waits),
                                   "kicks": counted(&self.out.kicks)}


cdef class RingIn(Port):
    """The consumer's end. `own`: writable buffer, the consumer's page; `theirs`: the
    producer's area."""
    cdef wg_ring_in *input
    cdef object keep

    def __cinit__(self, uint8_t[::1] own, const uint8_t[::1] theirs, data, space):
        if own.shape[0] < 4096:
            raise ValueError("the consumer's page is too small")
        self.input = <wg_ring_in *>calloc(1, sizeof(wg_ring_in))
        if self.input == NULL:
            raise MemoryError
        self.keep = (own, theirs, data, space)
        if ring_in_init(self.input, &own[0], &theirs[0], theirs.shape[0], _doorbell(data), _doorbell(space),
                        int.from_bytes(urandom(4), "little")):
            raise ValueError(f"a ring cannot have {theirs.shape[0]} bytes")
        self.port = &self.input.port

    def __dealloc__(self):
        free(self.input)

    def stats(self) -> dict:
        return Port.stats(self) | {
            "attaches": counted(&self.input.attaches), "bad_index": counted(&self.input.bad_index),
            "bad_record": counted(&self.input.bad_record), "kicks": counted(&self.input.kicks)}


cdef wg_doorbell _doorbell(pair) except *:
    cdef wg_doorbell d
    cdef uint8_t[::1] events
    d.fd = pair[0]
    d.emit = NULL
    if pair[1] is not None:
        events = pair[1]
        d.emit = <uint32_t *>&events[0]
    return d
