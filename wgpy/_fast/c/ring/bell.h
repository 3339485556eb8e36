/* Index words and doorbells, for both ends of a ring. */
#ifndef WG_RING_BELL_H
#define WG_RING_BELL_H

#include "ring.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

enum {
    RING_RECHECK_MS = 1000,  /* against a lost event */
    RING_ANEW_MS = 1000,     /* without an answer: say it anew, then after twice as long ... */
    RING_ANEW_MAX_MS = 8000, /* ... at most; a slow neighbour must get to answer at last */
    RING_POLL_MIN_MS = 1,    /* without a doorbell: while there is traffic ... */
    RING_POLL_MAX_MS = 32,   /* ... and after a while without */
};

static inline uint32_t ring_load(const uint8_t *at)
{
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)at, memory_order_acquire);
}
static inline void ring_store(uint8_t *at, uint32_t v)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)at, v, memory_order_release);
}

/* What was stored before is visible to whom the bell wakes. */
static inline void ring_kick(struct wg_ring_end *e, const struct wg_doorbell *d)
{
    const uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    count(&e->kicks, d->emit || d->fd >= 0);
    if (d->emit) {
        *d->emit = d->value;
    } else if (d->fd >= 0) {
        ssize_t ignored = write(d->fd, &one, sizeof one);
        (void)ignored;
    }
}

/* Events so far are over. One read, however often the neighbour rang. */
static inline void ring_silence(const struct wg_doorbell *d)
{
    uint64_t drained[512]; /* a pipe of wgpy.ring.backing is empty then */
    if (d->fd >= 0) {
        ssize_t ignored = read(d->fd, drained, d->emit ? 4 : sizeof drained);
        (void)ignored;
    }
}

static inline void ring_patient(struct wg_patience *p, uint32_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    p->since = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    p->ms = ms;
}

/* Has it been long enough? Then patience begins anew, for twice as long. */
static inline bool ring_impatient(struct wg_patience *p)
{
    struct wg_patience now;
    ring_patient(&now, 2 * p->ms < RING_ANEW_MAX_MS ? 2 * p->ms : RING_ANEW_MAX_MS);
    if (now.since - p->since < p->ms)
        return false;
    *p = now;
    return true;
}

static inline void ring_wait_on(struct wg_port *port, const struct wg_doorbell *d)
{
    port->recheck_ms = d->fd >= 0 ? RING_RECHECK_MS : RING_POLL_MAX_MS;
    port_has_fd(port, d->fd);
}

/* `size`: of the producer's area. False when the areas cannot be a ring. */
static inline bool ring_end_init(struct wg_ring_end *e, uint8_t *own, const uint8_t *theirs, size_t size,
                                 struct wg_doorbell data, struct wg_doorbell space, struct wg_ring_options o)
{
    if ((uintptr_t)own % RING_RECORD_ALIGN || (uintptr_t)theirs % RING_RECORD_ALIGN ||
        size < RING_SIZE_MIN || size > RING_SIZE_MAX)
        return false;
    e->own = own;
    e->theirs = theirs;
    e->arena_size = (uint32_t)(size - RING_ARENA) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    e->datagrams = o.datagrams;
    e->data = data;
    e->space = space;
    return true;
}

#endif
