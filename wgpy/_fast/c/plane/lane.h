/* What passes between the control side and the pumps: per-peer marks that are never
 * lost because they coalesce, a lane of injected packets, and the queue of handshake
 * messages. The last two are bounded and may drop, counted. */
#ifndef WG_LANE_H
#define WG_LANE_H

#include <pthread.h>

#include "core/port.h"
#include "core/queue.h"

/* A set of bits for each slot and a list of the slots that have any. */
struct wg_marks {
    pthread_mutex_t lock;
    uint32_t slots, head, count;
    uint32_t *list;   /* ring of at most `slots` places: a slot stands in it once */
    uint32_t *bits;
    bool *listed;
};
int marks_init(struct wg_marks *, uint32_t slots); /* 0 or -ENOMEM */
void marks_free(struct wg_marks *);
/* True when the bits are news, so that the other side wants waking. */
bool marks_set(struct wg_marks *, uint32_t slot, uint32_t bits);
/* Takes one slot with its bits; false when there is none. */
bool marks_take(struct wg_marks *, uint32_t *slot, uint32_t *bits);
void marks_clear(struct wg_marks *, uint32_t slot);

struct wg_lane_entry {
    uint32_t len, peer;   /* peer: whose endpoint to use, or WG_NO_PEER */
    uint8_t tos;
    struct wg_endpoint endpoint;
    uint8_t bytes[WG_LANE_BYTES];
};
struct wg_lane {
    struct wg_queue queue; /* of struct wg_lane_entry */
};
int lane_init(struct wg_lane *, uint32_t slots); /* 0 or -ENOMEM */
void lane_free(struct wg_lane *); /* wipes: an ICMP error quotes the packet it is about */
uint32_t lane_depth(struct wg_lane *);
/* 0, -ENOBUFS when full, -EMSGSIZE. */
int lane_put(struct wg_lane *, const uint8_t *bytes, uint32_t len, uint32_t peer, uint8_t tos,
             const struct wg_endpoint *endpoint);
/* The oldest entry, valid until lane_pop by the only consumer; NULL when empty. */
const struct wg_lane_entry *lane_peek(struct wg_lane *);
void lane_pop(struct wg_lane *);
/* Takes out what waits for the peer and says how much; the consumer must hold none. */
uint32_t lane_forget(struct wg_lane *, uint32_t peer);

struct wg_handshake {
    uint32_t len;
    struct wg_endpoint endpoint;
    uint8_t bytes[WG_HANDSHAKE_MAX]; /* in a queue there are fewer */
};
struct wg_handshakes {
    struct wg_queue queue; /* of struct wg_handshake */
};
/* For messages of at most `longest` bytes; 0 or -ENOMEM. */
int handshakes_init(struct wg_handshakes *, uint32_t slots, uint32_t longest);
void handshakes_free(struct wg_handshakes *);
bool handshakes_put(struct wg_handshakes *, const uint8_t *bytes, uint32_t len,
                    const struct wg_endpoint *endpoint); /* false when full */
bool handshakes_take(struct wg_handshakes *, struct wg_handshake *out);
uint32_t handshakes_depth(struct wg_handshakes *);

int waker_init(struct wg_waker *); /* 0 or -errno */
void waker_free(struct wg_waker *);
void wake(struct wg_waker *);
void wake_clear(struct wg_waker *);

#endif
