/* One plane without cryptography, one seal stage and its batch. Peer n owns 10.n.0.0/16
 * and is reached at port n. */
#ifndef ONE_PLANE_H
#define ONE_PLANE_H

#include "packets.h"
#include "plane/stage.h"

static void *null_key_new(const uint8_t key[WG_KEY])
{
    (void)key;
    return malloc(1);
}
static void null_key_free(void *ctx) { free(ctx); }
static void null_seal(struct wgpy_packet *job, size_t n)
{
    for (; n; job++, n--)
        memset(job->data + job->size, *(uint8_t *)job->context = 0, WG_TAG); /* faults without a key */
}
static void refuse_open(struct wgpy_packet *job, size_t n)
{
    for (; n; job++, n--)
        job->ok = 0; /* nothing is authentic */
}
static const struct wg_aead null_aead = {.key_size = WG_KEY, .tag_size = WG_TAG, .key_new = null_key_new,
                                         .key_free = null_key_free, .seal = null_seal, .open = refuse_open};

/* Short enough to read, and different for other keys and other bytes. */
static void null_mac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t *out)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < key_len + len; i++)
        h = (h ^ (i < key_len ? key[i] : in[i - key_len])) * UINT64_C(0x100000001b3);
    put_le64(out, h);
    put_le64(out + 8, ~h);
}
static void null_prepare(const struct wg_macs *macs, const uint8_t *key, size_t key_len, struct wg_mac_key *made)
{
    CHECK(key_len == macs->mac_size || key_len == macs->key_size);
    made->size = (uint32_t)key_len;
    memcpy(made->byte, key, key_len);
}
static bool null_prepared(const struct wg_macs *macs, const struct wg_mac_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t mac[16];
    null_mac(key->byte, key->size, in, len, mac);
    for (uint32_t i = 0; i < macs->mac_size; i++)
        out[i] = mac[i % 16];
    return true;
}
static bool null_keys(const struct wg_macs *macs, const uint8_t *public_key, struct wg_mac_key *mac1_key,
                      uint8_t cookie_key[WG_KEY_MAX])
{
    null_prepare(macs, public_key, macs->key_size, mac1_key);
    memcpy(cookie_key, public_key, macs->public_size);
    return true;
}
static void *null_sealer_new(void) { return malloc(1); }
static bool null_cookie_seal(const struct wg_macs *macs, void *sealer, const uint8_t *key, const uint8_t *nonce,
                             const uint8_t *cookie, const uint8_t *mac1, uint8_t *out)
{
    (void)sealer, (void)key, (void)nonce;
    memcpy(out, cookie, macs->mac_size);
    memcpy(out + macs->mac_size, mac1, macs->cookie_tag_size);
    return true;
}
#define NULL_MACS(public, mac, key, nonce) \
    {.public_size = public, .mac_size = mac, .key_size = key, .nonce_size = nonce, .cookie_tag_size = mac, .keys = null_keys, \
     .prepare = null_prepare, .prepared = null_prepared, .sealer_new = null_sealer_new, .sealer_free = free, \
     .seal = null_cookie_seal}
static const struct wg_macs null_macs = NULL_MACS(32, 16, 32, 24);

static const struct wg_macs *macs = &null_macs; /* that the next plane gets */
static struct wg_plane *plane;
static struct wg_seal_stage seal;
static struct wg_batch batch;

static inline void begin(uint32_t queues, void (*init)(struct wg_seal_stage *, struct wg_plane *, uint32_t, uint32_t))
{
    static _Alignas(64) uint8_t bytes[WG_BATCH_BYTES];
    plane = plane_new(8, 64, queues, &null_aead, macs);
    CHECK(plane);
    memset(&seal, 0, sizeof seal);
    init(&seal, plane, queues - 1, 1420);
    memset(&batch, 0, sizeof batch);
    batch.bytes = bytes;
    batch.now = 1000;
}

static inline uint32_t add_peer(uint8_t n)
{
    uint32_t slot = plane_add_peer(plane);
    plane_write_lock(plane);
    CHECK(trie_insert(plane->trie, 4, (const uint8_t[4]){10, n}, 16, slot) == 0);
    plane->peer[slot].endpoint = (struct wg_endpoint){.family = 4, .port = n, .addr = {192, 0, 2, n}};
    plane_write_unlock(plane);
    return slot;
}

static inline uint16_t port_of(const struct wg_packet *p) { return batch.endpoint[p->ep].port; }

#endif
