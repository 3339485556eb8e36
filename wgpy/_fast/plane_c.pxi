# What plane.pyx uses of the C core.
cdef extern from "aead.h" nogil:
    struct wg_aead_job:
        void *ctx
        uint64_t counter
        const uint8_t *in_ "in"
        uint8_t *out
        uint32_t len
        uint8_t ok
    struct wg_aead:
        const char *name
        bint (*supported)()
        void *(*key_new)(const uint8_t *)
        void (*key_free)(void *)
        void (*seal)(wg_aead_job *, uint32_t)
        void (*open)(wg_aead_job *, uint32_t)
    const wg_aead aead_openssl
    const wg_aead *compiled_in "aead_backends"[1]
    const char *aead_self_test(const wg_aead *, const wg_aead *)
    double measure "aead_measure"(const wg_aead *, uint32_t, uint32_t)
    const wg_aead *aead_choose(const char *, const char **)

cdef extern from "trie.h" nogil:
    struct wg_trie:
        pass
    ctypedef void (*trie_each)(void *, int, const uint8_t *, unsigned, uint32_t) noexcept
    void trie_walk(const wg_trie *, uint32_t, trie_each, void *)
    uint32_t trie_count(const wg_trie *)

cdef extern from "admission.h" nogil:
    struct wg_macs:
        pass
    struct wg_admission:
        pass
    const wg_macs macs_wireguard
    bint admission_under_load(const wg_admission *, uint64_t)

cdef extern from "plane.h" nogil:
    enum: WANT_KEEPALIVE, WANT_FLUSH, KEYPAIRS
    struct wg_waker:
        int fd
    struct wg_marks:
        pass
    struct wg_lane:
        pass
    struct wg_handshakes:
        pass
    struct wg_handshake:
        uint32_t len
        wg_endpoint endpoint
        uint8_t bytes[148]
    struct wg_staged:
        uint32_t count
    struct wg_keypair:
        bint initiator
        uint32_t local
        uint32_t remote
        uint64_t birth
        uint64_t counter
    struct wg_peer:
        bint used
        uint8_t current
        wg_keypair keypair[3]
        wg_staged staged
        uint64_t unanswered_since, unacknowledged_since
        uint64_t last_data_received, last_received, last_sent
        uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets
    struct wg_plane:
        uint32_t max_peers
        uint32_t queues
        const wg_aead *aead
        wg_trie *trie
        wg_peer *peer
        wg_marks notices
        wg_lane to_udp
        wg_handshakes handshakes, cookies
        wg_admission admission
        wg_waker up, seal_waker
        wg_counter drops[1]
    struct wg_crypto_stage:
        wg_stage stage
        uint32_t mtu
    wg_plane *plane_new(uint32_t, uint32_t, uint32_t, const wg_aead *, const wg_macs *)
    void plane_free(wg_plane *)
    uint32_t plane_add_peer(wg_plane *)
    void plane_remove_peer(wg_plane *, uint32_t)
    int plane_install(wg_plane *, uint32_t, const wg_keypair *, const uint8_t *, const uint8_t *)
    uint32_t plane_live_indices(wg_plane *, uint32_t, uint32_t *)
    void plane_expire(wg_plane *, uint32_t, uint64_t)
    uint32_t plane_purge(wg_plane *, uint32_t)
    void plane_set_key(wg_plane *, const uint8_t *)
    void plane_await(wg_plane *, uint32_t, uint32_t)
    void plane_await_none(wg_plane *, uint32_t)
    void plane_rearm(wg_plane *, uint32_t, uint32_t)
    void plane_set_endpoint(wg_plane *, uint32_t, const wg_endpoint *)
    void plane_get_endpoint(wg_plane *, uint32_t, wg_endpoint *)
    void plane_clear_source(wg_plane *, uint32_t)
    int plane_allow(wg_plane *, uint32_t, const uint8_t *, size_t, unsigned)
    int plane_disallow(wg_plane *, uint32_t, const uint8_t *, size_t, unsigned)
    void plane_disallow_all(wg_plane *, uint32_t)
    uint32_t plane_lookup(const wg_plane *, const uint8_t *, size_t)
    void plane_want(wg_plane *, uint32_t, uint32_t)
    void seal_stage_init(wg_crypto_stage *, wg_plane *, uint32_t, uint32_t)
    void open_stage_init(wg_crypto_stage *, wg_plane *, uint32_t)
    bint marks_take(wg_marks *, uint32_t *, uint32_t *)
    int lane_put(wg_lane *, const uint8_t *, uint32_t, uint32_t, uint8_t, const wg_endpoint *)
    bint handshakes_take(wg_handshakes *, wg_handshake *)
    uint32_t handshakes_depth(wg_handshakes *)
    void wake(wg_waker *)
    void wake_clear(wg_waker *)
    uint64_t relaxed(const uint64_t *)
    void add_atomic(uint64_t *, uint64_t)
    void set_relaxed(uint64_t *, uint64_t)
