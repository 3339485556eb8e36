/* A batch belongs to one pump thread: packets that a source port put there, that a stage
 * transforms in place, and that a sink port takes out. Runs of packets inside it that
 * share a destination are trains.
 *
 * Each packet has WG_HEADROOM free bytes in front of it and, behind its length rounded up to 16,
 * WG_TAILROOM, so that seal and open work in place. In front of a stage that keeps secrets nobody
 * outside the thread can write the bytes: a tag stays checked. Elsewhere they may lie in
 * a ring, see port.h. */
#ifndef WG_BATCH_H
#define WG_BATCH_H

#include "drops.h"
#include "wg.h"

/* Where a datagram came from or goes to, with the local address to answer from. */
struct wg_endpoint {
    uint8_t family;       /* 0 none, 4, 6 */
    uint8_t source;       /* enum wg_source */
    uint16_t port;        /* host order */
    uint32_t scope;       /* IPv6 scope id, else 0 */
    uint32_t ifindex;     /* 0: any */
    uint8_t addr[16];     /* 4 or 16 bytes used */
    uint8_t local[16];    /* the sticky source address */
};
enum wg_source {
    WG_SOURCE_NONE = 0,
    WG_SOURCE_KNOWN = 1, /* `local` and `ifindex` are where the peer last reached us */
    WG_SOURCE_STALE = 2, /* set by the UDP port: the kernel refused that source */
};

struct wg_packet {
    uint32_t off;    /* first byte, from batch->bytes */
    uint32_t len;    /* bytes; 0 only for keepalives on their way into seal */
    uint32_t peer;   /* slot in the plane, or WG_NO_PEER before it is known */
    uint16_t ep;     /* index into batch->endpoint (datagrams only) */
    uint8_t tos;     /* outer DS field: received, or to send */
    uint8_t live;    /* 0: dropped or consumed; sinks pass over it */
    uint8_t kind;    /* enum wg_kind */
};
enum wg_kind {
    WG_PLAIN = 0,    /* from a port */
    WG_RESUMED = 1,  /* from a staged queue: its peer is known */
    WG_FINISHED = 2, /* made by the stage (handshake datagram, ICMP): passes through */
};

struct wg_batch {
    uint64_t now;    /* CLOCK_BOOTTIME ns, stamped once for the whole batch */
    uint32_t n;      /* packets */
    uint32_t used;   /* bytes, headroom and tailroom included */
    uint32_t endpoints;
    bool pressed;    /* the source is crowded, or the sink cannot keep up */
    bool held;       /* see pull in port.h */
    uint32_t room;   /* of the sink, of WG_FULL, when the batch was begun */
    struct wg_packet packet[WG_BATCH_PACKETS];
    struct wg_endpoint endpoint[WG_BATCH_PACKETS];
    uint8_t *bytes;  /* WG_BATCH_BYTES, 64-byte aligned, private or a port's */
    wg_counter drops[WG_DROP_COUNT]; /* by this thread, since start */
};

static inline void batch_reset(struct wg_batch *b)
{
    b->n = b->used = b->endpoints = 0;
    b->pressed = b->held = false;
    b->room = WG_FULL;
}

/* Room for `packets` more of `bytes` in all (their head- and tailroom not counted)? */
static inline bool batch_has_room(const struct wg_batch *b, uint32_t packets, uint32_t bytes)
{
    return b->n + packets <= WG_BATCH_PACKETS &&
           b->used + bytes + packets * (WG_HEADROOM + WG_TAILROOM + 16) <= WG_BATCH_BYTES;
}

/* Appends an empty packet of `len` bytes, 16-byte aligned; the caller has checked for
 * room and fills the bytes. */
static inline struct wg_packet *batch_append(struct wg_batch *b, uint32_t len)
{
    struct wg_packet *p = &b->packet[b->n++];
    *p = (struct wg_packet){.off = b->used + WG_HEADROOM, .len = len, .peer = WG_NO_PEER, .live = 1};
    b->used += WG_HEADROOM + round16(len) + WG_TAILROOM;
    return p;
}

/* The index of an endpoint that datagrams of the batch come from, WG_BATCH_PACKETS - 1 at
 * most: the caller has checked that there are fewer. Neighbours that share one have one
 * index, so that trains go on. */
static inline uint16_t batch_endpoint(struct wg_batch *b, const struct wg_endpoint *e)
{
    if (!b->endpoints || memcmp(&b->endpoint[b->endpoints - 1], e, sizeof *e))
        b->endpoint[b->endpoints++] = *e;
    return (uint16_t)(b->endpoints - 1);
}

static inline void batch_drop(struct wg_batch *b, struct wg_packet *p, enum wg_drop why)
{
    p->live = 0;
    count(&b->drops[why], 1);
}

#endif
