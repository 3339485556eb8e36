/* A bounded queue of equal entries, first in, first out. Its lock guards everything in it, the
 * entries too; only what queue_peek gave stays the consumer's without it, until queue_pop. */
#ifndef WG_QUEUE_H
#define WG_QUEUE_H

#include <pthread.h>

#include "wg.h"

struct wg_queue {
    pthread_mutex_t lock;
    uint32_t slots, head, count; /* of entries: all, the oldest, those that wait */
    size_t size;                 /* bytes of an entry */
    uint8_t *entry;
};

int queue_init(struct wg_queue *, uint32_t slots, size_t size); /* 0 or -ENOMEM */
void queue_free(struct wg_queue *); /* wipes; nothing when it is all zero */

/* Entry `i` from the oldest on; the lock is held. */
static inline void *queue_at(const struct wg_queue *q, uint32_t i)
{
    return q->entry + (q->head + i) % q->slots * q->size;
}
/* Forgets the oldest entry, which there is; the lock is held. */
static inline void queue_shift(struct wg_queue *q)
{
    q->head = (q->head + 1) % q->slots;
    q->count--;
}

/* The place of a new entry, which holds whatever stood there, and the lock with it until
 * queue_put_end; NULL when the queue is full. */
void *queue_put_begin(struct wg_queue *);
void queue_put_end(struct wg_queue *);
/* Copies the oldest entry; false when there is none. */
bool queue_take(struct wg_queue *, void *out);
/* The oldest entry, valid until queue_pop by the only consumer; NULL when there is none. */
const void *queue_peek(struct wg_queue *);
void queue_pop(struct wg_queue *);
uint32_t queue_depth(struct wg_queue *);
/* Takes out the entries that `is` knows by `key` and says how many; the consumer must hold
 * none. */
uint32_t queue_forget(struct wg_queue *, bool (*is)(const void *entry, uint32_t key), uint32_t key);

#endif
