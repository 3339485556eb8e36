/* Packets that wait for a keypair: a bounded queue a peer, all in one fixed pool. */
#ifndef WG_STAGED_H
#define WG_STAGED_H

#include <pthread.h>

#include "core/drops.h"
#include "core/wg.h"

enum { WG_CHUNK = 2048, WG_CHUNKS = 8192, NO_CHUNK = UINT16_MAX };

/* Chunks of WG_CHUNK bytes; a larger packet takes a chain of them. Reserved at start,
 * touched only as used. */
struct wg_pool {
    pthread_mutex_t lock;
    uint8_t *bytes;
    uint16_t next[WG_CHUNKS];
    uint32_t fresh;   /* chunks never used yet start here */
    uint32_t left;    /* chunks that nobody has */
    uint16_t free;    /* head of the list of returned ones */
};

struct wg_staged {
    uint32_t head;
    _Atomic uint32_t count; /* the seal stage looks at it without the peer's lock */
    uint16_t first[WG_STAGED_PACKETS]; /* first chunk of each packet, NO_CHUNK if empty */
    uint16_t len[WG_STAGED_PACKETS];
};

int pool_init(struct wg_pool *); /* 0 or -ENOMEM */
void pool_free(struct wg_pool *);

/* Appends a copy of the packet (len may be 0). Returns WG_DROP_COUNT when nothing was
 * lost, WG_DROP_staged_oldest when the oldest had to go, WG_DROP_staged_pool when the
 * packet itself did; never both. The caller holds the peer's lock. */
enum wg_drop staged_push(struct wg_pool *, struct wg_staged *, const uint8_t *packet, uint32_t len);
/* Length of the packet that staged_pop would give; -1 when empty. */
int32_t staged_peek(const struct wg_staged *);
void staged_pop(struct wg_pool *, struct wg_staged *, uint8_t *packet);
/* Empties the queue, wiping what it held; returns how many packets went. */
uint32_t staged_clear(struct wg_pool *, struct wg_staged *);

#endif
