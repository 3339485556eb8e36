# AEAD backends by name, for the doctor, tests and benchmarks.

cdef const wg_aead *_backend(str name) except NULL:
    cdef int i = 0
    while compiled_in[i] != NULL:
        if compiled_in[i].name.decode() == name:
            return compiled_in[i]
        i += 1
    raise ValueError(f"no AEAD backend {name}")


def aead_backends() -> list:
    """(name, supported, error or None, ns to seal 1420 bytes or None), best first."""
    cdef int i = 0
    cdef const wg_aead *a
    cdef const char *error
    out = []
    while compiled_in[i] != NULL:
        a = compiled_in[i]
        i += 1
        error = NULL
        if a.supported():
            error = aead_self_test(a, &aead_openssl)
        why = None if error == NULL else error.decode()
        ns = measure(a, 1420, 32) if a.supported() and error == NULL else None
        out.append((a.name.decode(), bool(a.supported()), why, ns))
    return out


def aead_measure(str name, uint32_t length, uint32_t packets) -> float:
    """Nanoseconds to seal each of `packets` packets of `length` bytes as one batch."""
    return measured(_backend(name), length, packets)


cdef double measured(const wg_aead *a, uint32_t length, uint32_t packets) except -1:
    if length > WG_PACKET_MAX or not 1 <= packets <= WG_BATCH_PACKETS:
        raise ValueError(f"not measured: {packets} packets of {length} bytes")
    return measure(a, length, packets)


def aead_seal(str name, bytes key not None, uint64_t counter, bytes plaintext not None) -> bytes:
    """Seals one packet; key of 32 bytes. Returns ciphertext and tag."""
    return _aead_one(name, key, counter, plaintext, True)


def aead_open(str name, bytes key not None, uint64_t counter, bytes sealed not None):
    """The plaintext, or None when the tag is wrong or missing."""
    return _aead_one(name, key, counter, sealed, False) if len(sealed) >= WG_TAG else None


cdef _aead_one(str name, bytes key, uint64_t counter, bytes data, bint sealing):
    cdef const wg_aead *a = _backend(name)
    if len(key) != WG_KEY:
        raise ValueError("keys have 32 bytes")
    if len(data) > WG_PACKET_MAX + (0 if sealing else WG_TAG):
        raise ValueError(f"packet of {len(data)} bytes")
    cdef size_t out_len = len(data) + WG_TAG if sealing else len(data) - WG_TAG
    cdef uint32_t length = <uint32_t>(len(data) if sealing else out_len)
    cdef uint8_t *out = <uint8_t *>malloc(len(data) + WG_TAG)
    cdef int ret
    if out == NULL:
        raise MemoryError
    try:
        memcpy(out, <const uint8_t *>data, len(data))
        ret = aead_once(a, key, counter, out, length, sealing)
        if ret == -ENOMEM:
            raise MemoryError
        return <bytes>out[:out_len] if ret == 0 else None
    finally:
        wipe(out, len(data) + WG_TAG)
        free(out)
