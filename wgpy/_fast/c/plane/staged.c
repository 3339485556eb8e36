/* Owns the pool of chunks. The pool's lock guards its lists; which chunks a peer's queue has is
 * guarded by that peer's lock, under which the pool's is taken. The bytes of a chunk are its
 * queue's. */
#include "staged.h"

#include <errno.h>
#include <sys/mman.h>

int pool_init(struct wg_pool *pool)
{
    void *m = mmap(NULL, (size_t)WG_CHUNK * WG_CHUNKS, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return -ENOMEM;
    pool->bytes = m;
    pool->fresh = 0;
    pool->left = WG_CHUNKS;
    pool->free = NO_CHUNK;
    pthread_mutex_init(&pool->lock, NULL);
    return 0;
}

void pool_free(struct wg_pool *pool)
{
    if (pool->bytes)
        munmap(pool->bytes, (size_t)WG_CHUNK * WG_CHUNKS);
    pool->bytes = NULL;
}

static uint16_t take(struct wg_pool *pool)
{
    uint16_t c = pool->free;
    if (c != NO_CHUNK)
        pool->free = pool->next[c];
    else if (pool->fresh < WG_CHUNKS)
        c = (uint16_t)pool->fresh++;
    pool->left -= c != NO_CHUNK;
    return c;
}

static void give(struct wg_pool *pool, uint16_t chain)
{
    while (chain != NO_CHUNK) {
        uint16_t next = pool->next[chain];
        wipe(pool->bytes + (size_t)chain * WG_CHUNK, WG_CHUNK);
        pool->left++;
        pool->next[chain] = pool->free;
        pool->free = chain;
        chain = next;
    }
}

static uint32_t chunks(uint32_t len) { return (len + WG_CHUNK - 1) / WG_CHUNK; }

/* A chain long enough for `len` bytes; the caller has looked whether so much is left. */
static uint16_t take_chain(struct wg_pool *pool, uint32_t len)
{
    uint16_t head = NO_CHUNK;
    for (uint32_t i = 0; i < chunks(len); i++) {
        uint16_t c = take(pool);
        pool->next[c] = head;
        head = c;
    }
    return head;
}

static void drop_head(struct wg_pool *pool, struct wg_staged *q)
{
    give(pool, q->first[q->head]);
    q->head = (q->head + 1) % WG_STAGED_PACKETS;
    q->count--;
}

enum wg_drop staged_push(struct wg_pool *pool, struct wg_staged *q, const uint8_t *packet, uint32_t len)
{
    enum wg_drop lost = WG_DROP_COUNT;
    bool full = q->count == WG_STAGED_PACKETS;
    pthread_mutex_lock(&pool->lock);
    if (chunks(len) > pool->left + (full ? chunks(q->len[q->head]) : 0)) {
        pthread_mutex_unlock(&pool->lock);
        return WG_DROP_staged_pool;
    }
    if (full) {
        drop_head(pool, q);
        lost = WG_DROP_staged_oldest;
    }
    uint16_t chain = take_chain(pool, len);
    pthread_mutex_unlock(&pool->lock);
    uint32_t at = (q->head + q->count++) % WG_STAGED_PACKETS;
    q->first[at] = chain;
    q->len[at] = (uint16_t)len;
    uint32_t done = 0;
    for (uint16_t c = chain; done < len; c = pool->next[c]) {
        uint32_t part = len - done < WG_CHUNK ? len - done : WG_CHUNK;
        memcpy(pool->bytes + (size_t)c * WG_CHUNK, packet + done, part);
        done += part;
    }
    return lost;
}

int32_t staged_peek(const struct wg_staged *q) { return q->count ? (int32_t)q->len[q->head] : -1; }

void staged_pop(struct wg_pool *pool, struct wg_staged *q, uint8_t *packet)
{
    uint32_t len = q->len[q->head], done = 0;
    for (uint16_t c = q->first[q->head]; done < len; c = pool->next[c]) {
        uint32_t part = len - done < WG_CHUNK ? len - done : WG_CHUNK;
        memcpy(packet + done, pool->bytes + (size_t)c * WG_CHUNK, part);
        done += part;
    }
    pthread_mutex_lock(&pool->lock);
    drop_head(pool, q);
    pthread_mutex_unlock(&pool->lock);
}

uint32_t staged_clear(struct wg_pool *pool, struct wg_staged *q)
{
    uint32_t n = q->count;
    pthread_mutex_lock(&pool->lock);
    while (q->count)
        drop_head(pool, q);
    pthread_mutex_unlock(&pool->lock);
    return n;
}
