/* The gate: black's stage between its sockets and the ring to crypto. It knows no key; it
 * passes what has the form of a WireGuard message. Sources that crypto has answered may use
 * the whole ring, all others together only the first WG_GATE_OTHERS parts of it, so that a
 * flood of them leaves room (F3). Nothing is charged to a source: whoever forges an address
 * would spend what is its owner's.
 *
 * A source is an IPv4 address or an IPv6 /64. It is preferred for WG_GATE_PREFERRED after
 * crypto has sent transport data to it, which crypto does only to endpoints it has
 * authenticated: the tap on the way out learns this. A peer that roams is heard at once,
 * and preferred as soon as it is answered (F4; A1 says "by source IP" and deviates here). */
#ifndef WG_GATE_H
#define WG_GATE_H

#include "core/lengths.h"
#include "core/port.h"
#include "core/origin.h"

#include <pthread.h>

enum {
    WG_GATE_SOURCES = 16384,   /* a power of two */
    WG_GATE_WAYS = 8,          /* places where one source may be */
    WG_GATE_OTHERS = WG_FULL * 3 / 4,
};
#define WG_GATE_PREFERRED WG_REJECT_AFTER_TIME /* no session lives longer */

struct wg_gate_source {
    struct wg_origin of;
    uint64_t preferred_until;  /* ns */
};

struct wg_gate {
    struct wg_stage stage, tap;
    struct wg_port *sink;      /* the ring to crypto */
    pthread_mutex_t lock;      /* gate and tap run on two pumps */
    uint64_t seed[2];
    struct wg_lengths lengths;
    wg_counter evicted;        /* a preferred source was forgotten before its time */
    struct wg_gate_source source[WG_GATE_SOURCES];
};

/* `seed` as origin.h wants it; `sink` is where the gate's pump sends to; `lengths` are those of the
 * suite, of which black knows no more. */
void gate_init(struct wg_gate *, const uint64_t seed[2], struct wg_port *sink, const struct wg_lengths *lengths);
void gate_free(struct wg_gate *);

#endif
