# Ring ports over buffers that a backing has mapped (wgpy.ring.backing). Doorbells are
# (descriptor or -1, event register or None, value to store there).
from os import urandom


cdef class RingOut(Port):
    """The producer's end. `own`: writable buffer, the producer's area; `theirs`: the
    consumer's page; doorbells `data` to ring, `space` to wait on; `datagrams`: records
    carry endpoints. ValueError when a buffer is too small or not aligned."""
    cdef wg_ring_out *out
    cdef object keep

    def __cinit__(self, uint8_t[::1] own not None, const uint8_t[::1] theirs not None, data, space, *,
                  bint datagrams):
        _check_page(theirs)
        self.out = <wg_ring_out *>calloc(1, sizeof(wg_ring_out))
        if self.out == NULL:
            raise MemoryError
        self.keep = own, theirs, _register(data), _register(space)
        if own.shape[0] == 0 or ring_out_init(self.out, &own[0], own.shape[0], &theirs[0],
                                              _doorbell(data, self.keep[2]), _doorbell(space, self.keep[3]),
                                              _options(datagrams)):
            raise ValueError(f"a ring cannot have {own.shape[0]} bytes")
        self.port = &self.out.port

    def __dealloc__(self):
        free(self.out)

    def stats(self) -> dict:
        return Port.stats(self) | {"attaches": counted(&self.out.end.attaches), "waits": counted(&self.out.waits),
                                   "kicks": counted(&self.out.end.kicks)}


cdef class RingIn(Port):
    """The consumer's end. `own`: writable buffer, the consumer's page; `theirs`: the
    producer's area; doorbells `data` to wait on, `space` to ring. Without `datagrams`
    the endpoints that the producer wrote are ignored."""
    cdef wg_ring_in *input
    cdef object keep

    def __cinit__(self, uint8_t[::1] own not None, const uint8_t[::1] theirs not None, data, space, *,
                  bint datagrams):
        _check_page(own)
        self.input = <wg_ring_in *>calloc(1, sizeof(wg_ring_in))
        if self.input == NULL:
            raise MemoryError
        self.keep = own, theirs, _register(data), _register(space)
        if theirs.shape[0] == 0 or ring_in_init(self.input, &own[0], &theirs[0], theirs.shape[0],
                                                _doorbell(data, self.keep[2]), _doorbell(space, self.keep[3]),
                                                _options(datagrams)):
            raise ValueError(f"a ring cannot have {theirs.shape[0]} bytes")
        self.port = &self.input.port

    def __dealloc__(self):
        free(self.input)

    def stats(self) -> dict:
        return Port.stats(self) | {
            "attaches": counted(&self.input.end.attaches), "bad_index": counted(&self.input.bad_index),
            "bad_record": counted(&self.input.bad_record), "kicks": counted(&self.input.end.kicks)}


cdef _check_page(const uint8_t[::1] page):
    if page.shape[0] < RING_CONSUMER_SIZE:
        raise ValueError(f"a consumer's page cannot have {page.shape[0]} bytes")


cdef wg_ring_options _options(bint datagrams) except *:
    cdef wg_ring_options o
    o.datagrams = datagrams
    o.seed = int.from_bytes(urandom(4), "little")
    return o


# A view of a doorbell's event register: while the ring lives, its buffer cannot be closed.
cdef object _register(bell):
    cdef uint8_t[::1] register
    if bell[1] is None:
        return None
    register = bell[1]
    if register.shape[0] < 4 or <size_t>&register[0] % 4:
        raise ValueError("an event register has 4 bytes, aligned")
    return register


cdef wg_doorbell _doorbell(bell, view) except *:
    cdef wg_doorbell d
    cdef uint8_t[::1] register
    d.fd, d.value = bell[0], bell[2]
    d.emit = NULL
    if view is not None:
        register = view
        d.emit = <uint32_t *>&register[0]
    return d
