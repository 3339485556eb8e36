/* The gate: black's stage between its sockets and the ring to crypto. It knows no key;
 * it passes what has the form of a WireGuard message, within a budget for each source,
 * so that a flood costs crypto a bounded share of its ring (F3).
 *
 * A source is an IPv4 address or an IPv6 /64. It is preferred for WG_GATE_PREFERRED
 * after crypto has sent transport data to it, which crypto does only to endpoints it has
 * authenticated: the tap on the way out learns this. Transport data of other sources is
 * limited, not refused: a peer that roams is heard at once, and preferred as soon as it
 * is answered (F4; A1 says "by source IP" and deviates here). */
#ifndef WG_GATE_H
#define WG_GATE_H

#include "port.h"

#include <pthread.h>

enum {
    WG_GATE_SOURCES = 16384,   /* a power of two */
    WG_GATE_WAYS = 8,          /* places where one source may be */
    WG_GATE_HANDSHAKES = 50,   /* types 1-3 a second of an unknown source, and burst */
    WG_GATE_HANDSHAKES_PREFERRED = 500,
    WG_GATE_TRANSPORT = 2000,  /* type 4 a second of an unknown source, and burst */
};
#define WG_GATE_PREFERRED WG_REJECT_AFTER_TIME /* no session lives longer */

/* Times are ns. A budget is the time at which it would be full again, so a source that
 * was idle for a second is as good as new and its place may be taken. */
struct wg_gate_source {
    uint64_t address;          /* IPv4 address or IPv6 prefix, as bytes */
    uint64_t seen, preferred_until, handshakes, transport;
    uint8_t family;            /* 0: free */
};

struct wg_gate {
    struct wg_stage stage, tap;
    pthread_mutex_t lock;      /* gate and tap run on two pumps */
    uint64_t seed[2];
    wg_counter evicted;        /* a source was forgotten before its time */
    struct wg_gate_source source[WG_GATE_SOURCES];
};

/* `seed` is random and secret: it keeps sources from being made to collide. */
void gate_init(struct wg_gate *, const uint64_t seed[2]);
void gate_free(struct wg_gate *);

#endif
