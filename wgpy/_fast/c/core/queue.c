/* The one bounded queue: under lanes, handshake messages and memory ports. See queue.h. */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>

int queue_init(struct wg_queue *q, uint32_t slots, size_t size)
{
    *q = (struct wg_queue){.slots = slots, .size = size};
    pthread_mutex_init(&q->lock, NULL);
    q->entry = calloc(slots, size);
    return q->entry ? 0 : -ENOMEM;
}

void queue_free(struct wg_queue *q)
{
    if (q->entry)
        wipe(q->entry, q->slots * q->size);
    free(q->entry);
    q->entry = NULL;
}

void *queue_put_begin(struct wg_queue *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->count < q->slots)
        return queue_at(q, q->count);
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

void queue_put_end(struct wg_queue *q)
{
    q->count++;
    pthread_mutex_unlock(&q->lock);
}

bool queue_take(struct wg_queue *q, void *out)
{
    pthread_mutex_lock(&q->lock);
    bool any = q->count > 0;
    if (any) {
        memcpy(out, queue_at(q, 0), q->size);
        queue_shift(q);
    }
    pthread_mutex_unlock(&q->lock);
    return any;
}

const void *queue_peek(struct wg_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const void *e = q->count ? queue_at(q, 0) : NULL;
    pthread_mutex_unlock(&q->lock);
    return e;
}

void queue_pop(struct wg_queue *q)
{
    pthread_mutex_lock(&q->lock);
    queue_shift(q);
    pthread_mutex_unlock(&q->lock);
}

uint32_t queue_depth(struct wg_queue *q)
{
    pthread_mutex_lock(&q->lock);
    uint32_t n = q->count;
    pthread_mutex_unlock(&q->lock);
    return n;
}

uint32_t queue_forget(struct wg_queue *q, bool (*is)(const void *entry, uint32_t key), uint32_t key)
{
    pthread_mutex_lock(&q->lock);
    uint32_t kept = 0, before = q->count;
    for (uint32_t i = 0; i < before; i++) {
        if (is(queue_at(q, i), key))
            continue;
        if (kept != i)
            memcpy(queue_at(q, kept), queue_at(q, i), q->size);
        kept++;
    }
    q->count = kept;
    pthread_mutex_unlock(&q->lock);
    return before - kept;
}
