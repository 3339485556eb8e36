/* A ring: trains one way between two rooms that do not trust each other. Single
 * producer, single consumer; each side writes only its own area (ring_layout.h).
 *
 * Whatever the neighbour writes is copied once, bounded, then used. A bad value is a
 * counted drop and, for indices, a new attachment; never a crash, never a read out of
 * bounds.
 *
 * Attachment. The consumer writes a fresh request; the producer answers with a fresh
 * epoch and head 0, naming the request it saw; the consumer acknowledges the epoch with
 * tail 0. Records count only while producer and consumer name the same epoch, so either
 * side may start late, die or come back at any moment. */
#ifndef WG_RING_H
#define WG_RING_H

#include "port.h"
#include "ring_layout.h"

/* Rings a neighbour: a write to an eventfd, or a 32-bit store to an event register
 * (uio) where `emit` is set. */
struct wg_doorbell {
    int fd;
    volatile uint32_t *emit;
};

struct wg_ring_out {
    struct wg_port port;
    uint8_t *own;                /* producer's area */
    const uint8_t *theirs;       /* consumer's page */
    uint32_t arena_size;
    struct wg_doorbell data, space; /* to ring; to wait on */
    uint32_t epoch, request_seen, head;
    uint64_t place;              /* arena bytes given out, wrap gaps included */
    uint64_t start[RING_DESCRIPTORS]; /* `place` at which each live record starts */
    bool stuck;                  /* the last wait for space was in vain */
    wg_counter attaches, waits, kicks;
};
struct wg_ring_in {
    struct wg_port port;
    uint8_t *own;                /* consumer's page */
    const uint8_t *theirs;       /* producer's area */
    uint32_t arena_size;
    struct wg_doorbell data, space; /* to wait on; to ring */
    uint32_t request, acknowledged, tail;
    wg_counter attaches, bad_index, bad_record, kicks;
};

/* Sink side. `own` has `own_size` bytes and is initialised here; 0 or -EINVAL. `seed`
 * must differ from start to start. */
int ring_out_init(struct wg_ring_out *, uint8_t *own, size_t own_size, const uint8_t *theirs,
                  struct wg_doorbell data, struct wg_doorbell space, uint32_t seed);
/* Source side; `theirs_size` bytes of the producer's area are mapped. */
int ring_in_init(struct wg_ring_in *, uint8_t *own, const uint8_t *theirs, size_t theirs_size,
                 struct wg_doorbell data, struct wg_doorbell space, uint32_t seed);

#endif
