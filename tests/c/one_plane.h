/* One plane without cryptography, one seal stage and its batch. Peer n owns 10.n.0.0/16
 * and is reached at port n. */
#ifndef ONE_PLANE_H
#define ONE_PLANE_H

#include "packets.h"
#include "plane.h"

static void *null_key_new(const uint8_t key[WG_KEY])
{
    (void)key;
    return malloc(1);
}
static void null_key_free(void *ctx) { free(ctx); }
static void null_seal(struct wg_aead_job *job, uint32_t n)
{
    for (; n; job++, n--)
        memset(job->out + job->len, *(uint8_t *)job->ctx = 0, WG_TAG); /* faults without a key */
}
static void refuse_open(struct wg_aead_job *job, uint32_t n)
{
    for (; n; job++, n--)
        job->ok = 0; /* nothing is authentic */
}
static const struct wg_aead null_aead = {.key_new = null_key_new, .key_free = null_key_free, .seal = null_seal,
                                         .open = refuse_open};

static void null_keys(const uint8_t public_key[32], uint8_t mac1_key[32], uint8_t cookie_key[32])
{
    memcpy(mac1_key, public_key, 32);
    memcpy(cookie_key, public_key, 32);
}
/* Short enough to read, and different for other keys and other bytes. */
static void null_mac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t out[WG_MAC])
{
    memset(out, 0x5a, WG_MAC);
    for (size_t i = 0; i < key_len; i++)
        out[i % WG_MAC] = (uint8_t)(out[i % WG_MAC] * 3 + key[i]);
    for (size_t i = 0; i < len; i++)
        out[i % WG_MAC] = (uint8_t)(out[i % WG_MAC] * 5 + in[i]);
}
static void *null_sealer_new(void) { return malloc(1); }
static bool null_cookie_seal(void *sealer, const uint8_t *key, const uint8_t *nonce, const uint8_t *cookie,
                             const uint8_t *mac1, uint8_t *out)
{
    (void)sealer, (void)key, (void)nonce;
    memcpy(out, cookie, WG_MAC);
    memcpy(out + WG_MAC, mac1, WG_MAC);
    return true;
}
static const struct wg_macs null_macs = {.keys = null_keys, .mac = null_mac, .sealer_new = null_sealer_new,
                                         .sealer_free = free, .seal = null_cookie_seal};

static struct wg_plane *plane;
static struct wg_crypto_stage seal;
static struct wg_batch batch;

static inline void begin(uint32_t queues, void (*init)(struct wg_crypto_stage *, struct wg_plane *, uint32_t, uint32_t))
{
    static _Alignas(64) uint8_t bytes[WG_BATCH_BYTES];
    plane = plane_new(8, 64, queues, &null_aead, &null_macs);
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
