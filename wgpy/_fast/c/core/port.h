/* A port moves packets between a batch and the world: TUN, UDP, memory, ring.
 * A pump is source port -> stage -> sink port; deployments differ only in wiring. */
#ifndef WG_PORT_H
#define WG_PORT_H

#include "batch.h"

enum { WG_PORT_FDS = 4 };

struct wg_port {
    /* Appends what is there without blocking. Returns the packets appended, 0 when
     * there is nothing, or -errno when the port is gone for good. */
    int (*receive)(struct wg_port *, struct wg_batch *);
    /* Sends every live packet of the batch; what cannot go is a counted drop. */
    void (*send)(struct wg_port *, struct wg_batch *);
    /* Source: called before sleeping; false when something came after all. Sink: looks
     * after the port when fds[0] rang or time passed without anything to send. Both may
     * be NULL. */
    bool (*may_sleep)(struct wg_port *);
    void (*service)(struct wg_port *);
    /* Sink: its own memory for the batch to be received into, WG_BATCH_BYTES that a
     * neighbour can read, or NULL when it has none now. Such a batch is sent without a
     * copy. NULL where there is no such memory. */
    uint8_t *(*lend)(struct wg_port *);
    /* Sink: how much of its room is taken, of WG_FULL; a train takes one or more. NULL where
     * room does not run out. */
    uint32_t (*filled)(struct wg_port *);
    /* Source: is more waiting than a busy moment brings? NULL where nobody knows. */
    bool (*crowded)(struct wg_port *);
    /* Source: gives back what receive handed out as the source's own memory, which it
     * does, read-only, while `in_place` is set. NULL where there is no such memory. */
    void (*release)(struct wg_port *);
    bool in_place;
    bool only_reads; /* sink: send leaves the batch's bytes as they are */
    /* File descriptors to poll for input, -1 where there is none. */
    int fds[WG_PORT_FDS];
    uint8_t rang;   /* source: bit i if fds[i] had input when the pump last slept, or since */
    bool drained;   /* source: the last receive took all there was */
    int recheck_ms; /* sleep no longer than this; 0: for ever */
    wg_counter packets_in, packets_out, bytes_in, bytes_out, calls_in, calls_out;
};

/* One to poll at most. */
static inline void port_has_fd(struct wg_port *port, int fd)
{
    port->fds[0] = fd;
    for (int i = 1; i < WG_PORT_FDS; i++)
        port->fds[i] = -1;
}

/* Wakes a sleeping pump, and is seen by a busy one without a system call. */
struct wg_waker {
    _Atomic bool pending;
    int fd;               /* eventfd */
};

/* What turns packets into datagrams or back. */
struct wg_stage {
    /* Appends packets of the stage's own making (staged packets, keepalives,
     * handshake datagrams, ICMP). Returns whether there is more to pull; what it keeps for
     * want of `room` is `held`, and pull is called again within a millisecond or two. */
    bool (*pull)(struct wg_stage *, struct wg_batch *);
    /* Transforms the batch in place. */
    void (*run)(struct wg_stage *, struct wg_batch *);
    /* run in two parts, for groups of pumps: `begin` is called for one batch after the other
     * as they were received, `finish` for several at once, each by a stage of its own. NULL
     * where run as a whole may be called so. */
    void (*begin)(struct wg_stage *, struct wg_batch *);
    void (*finish)(struct wg_stage *, struct wg_batch *);
    /* After the sink has sent the batch: learns which sources were stale. May be NULL. */
    void (*sent)(struct wg_stage *, struct wg_batch *);
    /* Looks at `pressed` of its batches. */
    bool shares;
    /* Works in memory that no other room can read or write. */
    bool secret;
    /* What pull waits for: NULL for stages that make nothing themselves. */
    struct wg_waker *waker;
};

#endif
