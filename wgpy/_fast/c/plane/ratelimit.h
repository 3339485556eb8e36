/* How many handshake messages a source gets under load: a bucket of WG_LIMIT_BURST tokens for
 * each IPv4 address or IPv6 /64, refilled WG_LIMIT_RATE times a second (ratelimiter.c of the
 * Linux module).
 *
 * A source may be many, behind a NAT or in a /64, of whom one floods. So that it does not spend
 * all that the others have, a source has two buckets more, for those of it that are quiet: of
 * which nothing was let in for WG_LIMIT_QUIET. One is for ports, one for whole addresses. A peer
 * tries once in REKEY_TIMEOUT and is quiet by then. As long as fewer than WG_LIMIT_QUIET_BURST
 * ports flood, or any ports of fewer addresses of a /64, there is a token for every other. */
#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include "core/origin.h"

enum {
    WG_LIMIT_RATE = 20, WG_LIMIT_BURST = 5, WG_LIMIT_SOURCES = 8192, WG_LIMIT_WAYS = 8,
    WG_LIMIT_QUIET_BURST = 32,   /* less than WG_LIMIT_RATE gives in WG_LIMIT_QUIET */
    WG_LIMIT_MARKS = 16384,
};
#define WG_LIMIT_QUIET (4 * WG_SECOND)

/* Takes one from a budget of `rate` a second that holds `burst`, kept as the time (ns) at
 * which it is full again. */
static inline bool budget_take(uint64_t *full_at, uint32_t rate, uint32_t burst, uint64_t now)
{
    uint64_t from = *full_at > now ? *full_at : now, cost = WG_SECOND / rate;
    if (from + cost > now + burst * cost)
        return false;
    *full_at = from + cost;
    return true;
}

struct wg_limited {
    struct wg_origin of;
    uint64_t full_at, ports_full_at, addresses_full_at;
};
/* A hash of an address, or of it and a port, from which something was let in. */
struct wg_limit_mark {
    uint64_t of, quiet_at;
};
struct wg_limiter {
    uint64_t seed[2];
    struct wg_limited source[WG_LIMIT_SOURCES];
    struct wg_limit_mark mark[WG_LIMIT_MARKS];
};

/* False when there is no token for this address and port, or no place for its source in the
 * table: a place is free again when its buckets are full. Of the marks the oldest gives way,
 * whose owner then passes for quiet. */
bool limiter_allow(struct wg_limiter *, const struct wg_endpoint *, uint64_t now);

#endif
