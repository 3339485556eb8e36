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
static const struct wg_aead null_aead = {.key_new = null_key_new, .key_free = null_key_free, .seal = null_seal};

static struct wg_plane *plane;
static struct wg_crypto_stage seal;
static struct wg_batch batch;

static inline void begin(uint32_t queues, void (*init)(struct wg_crypto_stage *, struct wg_plane *, uint32_t, uint32_t))
{
    static _Alignas(64) uint8_t bytes[WG_BATCH_BYTES];
    plane = plane_new(8, 64, queues, &null_aead);
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
