/* Shares of the open side. While more arrives than is opened, the peers that had more than
 * their part of the work give way before the cipher: the pump then empties the source's
 * queue faster than it fills, and the others lose nothing and wait little.
 *
 * Work is what the cipher did. Only authenticated work is a peer's: a receiver index can be
 * copied from the wire, so packets that merely bear it say nothing about the peer. What
 * failed or was refused is nobody's, but counts in the sum; a flood of it makes every peer's
 * part small, and then none is greedy and none gives way to it. */
#ifndef WG_SHARE_H
#define WG_SHARE_H

#include "core/wg.h"

enum {
    WG_PACKET_COST = 512,      /* bytes of work that a packet is beside its own */
    WG_SHARE_LEAST = 8,        /* a greedy peer is left one part in so many of a batch */
};
#define WG_SHARE_PERIOD (WG_SECOND / 20) /* work of this period and the one before counts */
#define WG_PRESENT_PERIOD WG_SECOND      /* as do peers, of whom one may send little */

/* A sum over the present period and the one before. Where a period begins, threads of a group may
 * lose a little of each other's. */
struct wg_window {
    _Atomic uint64_t period, now, last;
};

struct wg_share {          /* of a plane */
    struct wg_window work, peers;
};
struct wg_peer_share {     /* of a peer */
    struct wg_window work;
    _Atomic uint64_t present; /* the latest period of WG_PRESENT_PERIOD that counted it */
};

struct wg_plane;
struct wg_open_stage;
struct wg_batch;

/* `packets` of a peer were authentic; WG_NO_PEER: were not. */
void share_charge(struct wg_plane *, uint32_t slot, uint64_t bytes, uint64_t packets, uint64_t now);
/* Drops of a batch what greedy peers must leave to others, their oldest first. */
void share_out(struct wg_open_stage *, struct wg_batch *);

#endif
