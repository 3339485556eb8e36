/* How many handshake messages a source gets under load (ratelimiter.c of the Linux
 * module): a bucket of WG_LIMIT_BURST tokens for each IPv4 address or IPv6 /64, refilled
 * WG_LIMIT_RATE times a second. */
#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include "origin.h"

enum { WG_LIMIT_RATE = 20, WG_LIMIT_BURST = 5, WG_LIMIT_SOURCES = 8192, WG_LIMIT_WAYS = 8 };

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
    uint64_t full_at;
};
struct wg_limiter {
    uint64_t seed[2];
    struct wg_limited source[WG_LIMIT_SOURCES];
};

/* False when the source has no token left, or no place in the table: a place is free again
 * when its bucket is full. */
bool limiter_allow(struct wg_limiter *, const struct wg_endpoint *, uint64_t now);

#endif
