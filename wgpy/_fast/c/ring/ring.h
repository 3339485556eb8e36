/* A ring: trains one way between two rooms that do not trust each other. Single
 * producer, single consumer; each side writes only its own area (layout.h).
 *
 * Indices, descriptors and tables that the neighbour writes are copied once, bounded, then
 * used; packets are copied too, unless the pump only passes them on. A bad value is a
 * counted drop and, for indices, a new attachment; never a crash, never a read out of
 * bounds. No decision rests on what this side reads back from its own area: where both
 * areas share one region the neighbour can write there too.
 *
 * Attachment. The consumer writes a fresh request; the producer answers with a fresh
 * epoch and head 0, naming the request it saw; the consumer acknowledges the epoch with
 * tail 0. Records count only while producer and consumer name the same epoch, so either
 * side may start late, die or come back at any moment. tests/ring/ring.pml is the model.
 *
 * Nothing that was said once has to be right for ever: a consumer that is not answered, or
 * wrongly, asks anew, and a producer that is not acknowledged answers anew, after a second
 * each and then less often. So whatever stood in the shared words, the ring lives again
 * when both sides are honest (tests/ring/attach.pml). */
#ifndef WG_RING_H
#define WG_RING_H

#include "core/port.h"
#include "layout.h"

/* Sizes of a producer's area: one record must fit, and no sum may leave 32 bits. */
enum { RING_SIZE_MIN = RING_ARENA + RING_RECORD_BYTES, RING_SIZE_MAX = 1 << 30 };

/* Rings a neighbour or is waited on. Without `emit`, eight bytes written to `fd` (pipe or
 * eventfd); with it, a 32-bit store of `value` there, and `fd` is a UIO device. fd -1:
 * nothing to wait on, so the memory is looked at now and then. */
struct wg_doorbell {
    int fd;
    volatile uint32_t *emit;
    uint32_t value;
};

/* How long the neighbour is waited for before the same is said anew. */
struct wg_patience {
    uint64_t since; /* CLOCK_MONOTONIC, ms */
    uint32_t ms;
};

/* What both ends have: the areas that this one and the neighbour write. */
struct wg_ring_end {
    uint8_t *own;
    const uint8_t *theirs;
    uint32_t arena_size;
    bool datagrams;              /* records carry endpoints */
    struct wg_doorbell data, space; /* the producer rings the one, the consumer the other */
    wg_counter attaches, kicks;
};
struct wg_ring_out {
    struct wg_port port;
    struct wg_ring_end end;
    uint32_t epoch, request_seen, head;
    uint64_t place;              /* arena bytes given out, wrap gaps included */
    uint64_t start[RING_DESCRIPTORS]; /* `place` at which each live record starts */
    uint32_t lent;               /* where in the arena a batch is being received, or NO_SPACE */
    bool stuck;                  /* the last wait for space was in vain */
    bool lied_to;                /* the tail was ahead of the head: a new epoch is due */
    struct wg_patience patience; /* since the last answer */
    wg_counter waits;
};
struct wg_ring_in {
    struct wg_port port;
    struct wg_ring_end end;
    bool sleeping, attached;
    struct wg_patience patience; /* since it was attached, or asked */
    uint32_t request, acknowledged, tail;
    uint32_t mean;               /* bytes of a record, of those that were taken last */
    wg_counter bad_index, bad_record;
};

/* A ring of datagrams carries endpoints, each record one; a ring of packets none, and
 * whatever the producer wrote there is not looked at: red must not choose where crypto's
 * datagrams go. Both ends name the kind. */
struct wg_ring_options {
    bool datagrams;
    uint32_t seed;               /* differs from start to start */
};

/* Sink side. `own`, aligned to RING_RECORD_ALIGN, has `own_size` bytes and is initialised
 * here; 0 or -EINVAL. */
int ring_out_init(struct wg_ring_out *, uint8_t *own, size_t own_size, const uint8_t *theirs,
                  struct wg_doorbell data, struct wg_doorbell space, struct wg_ring_options);
/* Source side; `theirs_size` bytes of the producer's area are mapped. */
int ring_in_init(struct wg_ring_in *, uint8_t *own, const uint8_t *theirs, size_t theirs_size,
                 struct wg_doorbell data, struct wg_doorbell space, struct wg_ring_options);

#endif
