# What plane.pyx uses of the C core.
cdef extern from "aead/aead.h" nogil:
    struct wg_aead:
        const char *name
        uint32_t key_size, tag_size
        bint (*supported)()
    const wg_aead aead_openssl
    const wg_aead *compiled_in "aead_backends"[1]
    const char *aead_self_test(const wg_aead *, const wg_aead *)
    int aead_once(const wg_aead *, const uint8_t *, uint64_t, uint8_t *, uint32_t, bint)
    double measure "aead_measure"(const wg_aead *, uint32_t, uint32_t)
    const wg_aead *aead_choose(const char *, const char **)

cdef extern from "aead/macs.h" nogil:
    struct wg_macs:
        uint32_t public_size
    const wg_macs macs_wireguard

cdef extern from "plane/stage.h" nogil:
    enum: WANT_KEEPALIVE, WANT_FLUSH, KEYPAIRS, NOTICE_CONFIRMED
    ctypedef void (*trie_each)(void *, int, const uint8_t *, unsigned, uint32_t) noexcept
    struct wg_waker:
        int fd
    struct wg_freed:
        uint32_t count
        uint32_t local[KEYPAIRS]
    struct wg_keypair:
        bint initiator
        uint32_t local, remote
        uint64_t birth
    struct wg_notice:
        uint32_t slot, bits, promoted
    struct wg_handshake:
        uint32_t len
        wg_endpoint endpoint
        uint8_t bytes[WG_HANDSHAKE_MAX]
    struct wg_activity:
        uint64_t unanswered_since, unacknowledged_since, last_data_received, last_received, last_sent
    struct wg_stats:
        uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets
        uint32_t staged
    struct wg_plane:
        uint32_t max_peers, queues
        const wg_aead *aead
        wg_lengths lengths
        wg_waker up
        wg_counter drops[1]
    struct wg_plane_stage:
        wg_stage stage
    struct wg_seal_stage:
        wg_plane_stage base
        uint32_t mtu
    struct wg_open_stage:
        wg_plane_stage base
    void seal_stage_init(wg_seal_stage *, wg_plane *, uint32_t, uint32_t)
    void open_stage_init(wg_open_stage *, wg_plane *, uint32_t)
    wg_lengths plane_lengths(const wg_aead *, const wg_macs *)
    wg_plane *plane_new(uint32_t, uint32_t, uint32_t, const wg_aead *, const wg_macs *)
    void plane_free(wg_plane *)
    uint32_t plane_add_peer(wg_plane *)
    void plane_remove_peer(wg_plane *, uint32_t)
    bint plane_has(const wg_plane *, uint32_t)
    int plane_install(wg_plane *, uint32_t, const wg_keypair *, const uint8_t *, const uint8_t *, wg_freed *)
    void plane_expire(wg_plane *, uint32_t, uint64_t, wg_freed *)
    uint32_t plane_live_indices(wg_plane *, uint32_t, uint32_t *)
    void plane_set_counter(wg_plane *, uint32_t, uint64_t)
    uint32_t plane_purge(wg_plane *, uint32_t)
    bint plane_set_key(wg_plane *, const uint8_t *)
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
    void plane_prefixes(const wg_plane *, trie_each, void *)
    uint32_t plane_prefix_count(const wg_plane *)
    void plane_want(wg_plane *, uint32_t, uint32_t)
    int plane_send(wg_plane *, const uint8_t *, size_t, uint32_t, uint8_t, const wg_endpoint *)
    void plane_received(wg_plane *, uint32_t, uint32_t)
    void plane_notices_begin(wg_plane *)
    bint plane_notices_next(wg_plane *, wg_notice *)
    bint plane_take_handshake(wg_plane *, bint, wg_handshake *)
    uint32_t plane_handshake_depth(wg_plane *)
    bint plane_under_load(const wg_plane *, uint64_t)
    void plane_activity(const wg_plane *, uint32_t, wg_activity *)
    void plane_stats(const wg_plane *, uint32_t, wg_stats *)
