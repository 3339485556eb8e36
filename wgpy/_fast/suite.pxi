# A suite of the user's own (suite/suite.h), and its functions for the protocol core.
cdef extern from "suite/suite.h" nogil:
    enum: WGPY_HASH_MAX, WGPY_PUBLIC_MAX, WGPY_TAG_MAX
    struct wgpy_part:
        const uint8_t *data
        size_t size
    struct wgpy_suite:
        const char *name
        const char *noise
        const char *identifier
        uint32_t entropy_size, private_size, public_size, shared_size, hash_size, hash_block, key_size, tag_size, mac_size
        uint32_t cookie_key_size, cookie_nonce_size, cookie_tag_size
        int (*private_key)(const uint8_t *, uint8_t *)
        int (*public_key)(const uint8_t *, uint8_t *)
        int (*dh)(const uint8_t *, const uint8_t *, uint8_t *)
        int (*hash)(const wgpy_part *, size_t, uint8_t *)
        int (*mac)(const uint8_t *, size_t, const wgpy_part *, size_t, uint8_t *)
        int (*cookie_seal)(const uint8_t *, const uint8_t *, wgpy_part, uint8_t *, size_t)
        int (*cookie_open)(const uint8_t *, const uint8_t *, wgpy_part, uint8_t *, size_t)
    struct wg_suite:
        wgpy_suite table
        char *name
        wg_aead aead
        wg_macs macs
    struct wg_suite_fault:
        int check
        char *detail
    const char *suite_fault_text(int)
    bint suite_load(wg_suite *, int, wg_suite_fault *)
    bint suite_test(const wg_suite *, wg_suite_fault *)
    bint suite_hmac(const wgpy_suite *, wgpy_part, wgpy_part, uint8_t *)
    bint suite_kdf(const wgpy_suite *, wgpy_part, wgpy_part, uint32_t, uint8_t *)
    int suite_once(const wgpy_suite *, const uint8_t *, uint64_t, wgpy_part, uint8_t *, size_t, bint)


cdef str fault_of(const wg_suite_fault *fault):
    text = suite_fault_text(fault.check).decode()
    detail = fault.detail.decode("utf-8", "backslashreplace")
    return f"{text}: {detail}" if detail else text


cdef wgpy_part part_of(bytes data):
    cdef wgpy_part part
    part.data, part.size = data, <size_t>len(data)
    return part


cdef int exactly(bytes data, uint32_t size, str what) except -1:
    if len(data) != size:
        raise ValueError(f"{what} of {len(data)} bytes, which has {size}")
    return 0


def load_suite(int fd) -> LoadedSuite:
    cdef wg_suite_fault fault
    cdef LoadedSuite made = LoadedSuite.__new__(LoadedSuite)
    cdef bint good
    with nogil:
        good = suite_load(&made.suite, fd, &fault)
    if not good:
        memset(&made.suite, 0, sizeof(wg_suite))
        raise SuiteError(fault_of(&fault))
    return made


cdef class LoadedSuite:
    cdef wg_suite suite

    cdef wgpy_suite *_table(self) except NULL:
        if self.suite.table.hash == NULL:
            raise TypeError("load_suite() makes these")
        return &self.suite.table

    @property
    def name(self) -> str:
        return self._table().name.decode()

    @property
    def noise(self) -> bytes:
        return self._table().noise

    @property
    def identifier(self) -> bytes:
        return self._table().identifier

    @property
    def entropy_size(self) -> int:
        return self._table().entropy_size

    @property
    def private_size(self) -> int:
        return self._table().private_size

    @property
    def public_size(self) -> int:
        return self._table().public_size

    @property
    def shared_size(self) -> int:
        return self._table().shared_size

    @property
    def hash_size(self) -> int:
        return self._table().hash_size

    @property
    def hash_block(self) -> int:
        return self._table().hash_block

    @property
    def key_size(self) -> int:
        return self._table().key_size

    @property
    def tag_size(self) -> int:
        return self._table().tag_size

    @property
    def mac_size(self) -> int:
        return self._table().mac_size

    @property
    def cookie_key_size(self) -> int:
        return self._table().cookie_key_size

    @property
    def cookie_nonce_size(self) -> int:
        return self._table().cookie_nonce_size

    @property
    def cookie_tag_size(self) -> int:
        return self._table().cookie_tag_size

    @property
    def lengths(self) -> Lengths:
        self._table()
        return unpack_lengths(plane_lengths(&self.suite.aead, &self.suite.macs))

    def test(self) -> str | None:
        cdef wg_suite_fault fault
        cdef bint good
        self._table()
        with nogil:
            good = suite_test(&self.suite, &fault)
        return None if good else fault_of(&fault)

    def measure(self, uint32_t length, uint32_t packets) -> float:
        self._table()
        return measured(&self.suite.aead, length, packets)

    def private(self, bytes entropy not None) -> bytes | None:
        cdef uint8_t out[WGPY_PUBLIC_MAX]
        cdef wgpy_suite *t = self._table()
        exactly(entropy, t.entropy_size, "entropy")
        return taken(out, t.private_size, t.private_key(entropy, out) == 0)

    def public(self, bytes private not None) -> bytes | None:
        cdef uint8_t out[WGPY_PUBLIC_MAX]
        cdef wgpy_suite *t = self._table()
        exactly(private, t.private_size, "private key")
        return taken(out, t.public_size, t.public_key(private, out) == 0)

    def dh(self, bytes private not None, bytes public not None) -> bytes | None:
        cdef uint8_t out[WGPY_PUBLIC_MAX]
        cdef wgpy_suite *t = self._table()
        exactly(private, t.private_size, "private key")
        exactly(public, t.public_size, "public key")
        return taken(out, t.shared_size, t.dh(private, public, out) == 0)

    def hash(self, bytes data not None) -> bytes:
        cdef uint8_t out[WGPY_HASH_MAX]
        cdef wgpy_suite *t = self._table()
        cdef wgpy_part part = part_of(data)
        return self._must(taken(out, t.hash_size, t.hash(&part, 1, out) == 0), "hash")

    def hmac(self, bytes key not None, bytes data not None) -> bytes:
        cdef uint8_t out[WGPY_HASH_MAX]
        cdef wgpy_suite *t = self._table()
        return self._must(taken(out, t.hash_size, suite_hmac(t, part_of(key), part_of(data), out)), "hash")

    def kdf(self, bytes chain not None, bytes data not None, uint32_t n) -> tuple:
        cdef uint8_t out[3 * WGPY_HASH_MAX]
        cdef wgpy_suite *t = self._table()
        if not 1 <= n <= 3:
            raise ValueError(f"{n} outputs")
        both = self._must(taken(out, n * t.hash_size, suite_kdf(t, part_of(chain), part_of(data), n, out)), "hash")
        return tuple([both[i * t.hash_size:(i + 1) * t.hash_size] for i in range(n)])

    def mac(self, bytes key not None, bytes data not None) -> bytes:
        cdef uint8_t out[WGPY_HASH_MAX]
        cdef wgpy_suite *t = self._table()
        cdef wgpy_part part = part_of(data)
        if len(key) not in (t.hash_size, t.mac_size):
            raise ValueError(f"the key of a MAC has {t.hash_size} or {t.mac_size} bytes")
        return self._must(taken(out, t.mac_size, t.mac(key, len(key), &part, 1, out) == 0), "mac")

    def seal(self, bytes key not None, uint64_t counter, bytes plaintext not None, bytes aad not None) -> bytes:
        cdef wgpy_suite *t = self._table()
        exactly(key, t.key_size, "key")
        return self._must(self._in_place(plaintext, len(plaintext), t.tag_size, key, counter, None, aad, True), "seal_one")

    def open(self, bytes key not None, uint64_t counter, bytes sealed not None, bytes aad not None) -> bytes | None:
        cdef wgpy_suite *t = self._table()
        exactly(key, t.key_size, "key")
        return self._in_place(sealed, len(sealed) - <ssize_t>t.tag_size, t.tag_size, key, counter, None, aad, False)

    def cookie_seal(self, bytes key not None, bytes nonce not None, bytes plaintext not None, bytes aad not None) -> bytes:
        cdef wgpy_suite *t = self._table()
        exactly(key, t.cookie_key_size, "key")
        exactly(nonce, t.cookie_nonce_size, "nonce")
        return self._must(self._in_place(plaintext, len(plaintext), t.cookie_tag_size, key, 0, nonce, aad, True), "cookie_seal")

    def cookie_open(self, bytes key not None, bytes nonce not None, bytes sealed not None, bytes aad not None) -> bytes | None:
        cdef wgpy_suite *t = self._table()
        exactly(key, t.cookie_key_size, "key")
        exactly(nonce, t.cookie_nonce_size, "nonce")
        return self._in_place(sealed, len(sealed) - <ssize_t>t.cookie_tag_size, t.cookie_tag_size, key, 0, nonce, aad, False)

    cdef bytes _must(self, bytes done, str what):
        if done is None:
            raise SuiteError(f"suite {self.name}: {what} could not do its work")
        return done

    # With `nonce` a cookie, else a message of the handshake; `size` bytes of plaintext. None: refused.
    cdef bytes _in_place(self, bytes data, ssize_t size, uint32_t tag, bytes key, uint64_t counter, bytes nonce, bytes aad, bint seals):
        cdef wgpy_suite *t = self._table()
        cdef uint8_t *room
        cdef int ret
        if size > WG_PACKET_MAX:
            raise ValueError(f"message of {size} bytes")
        if size < 0:
            return None
        room = <uint8_t *>malloc(size + tag)
        if room == NULL:
            raise MemoryError
        memcpy(room, <const uint8_t *>data, len(data))
        if nonce is None:
            ret = suite_once(t, key, counter, part_of(aad), room, size, seals)
        else:
            ret = (t.cookie_seal if seals else t.cookie_open)(key, nonce, part_of(aad), room, size)
        try:
            return <bytes>room[:size + (tag if seals else 0)] if ret == 0 else None
        finally:
            wipe(room, size + tag)
            free(room)


# What a function gave, if it did; nothing is left of it here.
cdef bytes taken(uint8_t *out, size_t size, bint given):
    try:
        return <bytes>out[:size] if given else None
    finally:
        wipe(out, size)
