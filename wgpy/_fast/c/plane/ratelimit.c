/* Owns struct wg_limiter, which the admission's lock guards; its seed never changes. */
#include "ratelimit.h"

static bool is_full(const struct wg_limited *s, uint64_t now)
{
    return s->full_at <= now && s->ports_full_at <= now && s->addresses_full_at <= now;
}

static struct wg_limited *place_of(struct wg_limiter *l, struct wg_origin s, uint64_t now)
{
    struct wg_limited *way = &l->source[origin_place(l->seed, s, WG_LIMIT_SOURCES / WG_LIMIT_WAYS) * WG_LIMIT_WAYS];
    struct wg_limited *unused = NULL;
    for (int i = 0; i < WG_LIMIT_WAYS; i++) {
        if (same_origin(way[i].of, s))
            return &way[i];
        if (!unused && is_full(&way[i], now))
            unused = &way[i];
    }
    if (unused)
        *unused = (struct wg_limited){.of = s};
    return unused;
}

/* Its own, or else the one that is the first to mean nothing any more. */
static struct wg_limit_mark *mark_of(struct wg_limiter *l, uint64_t of)
{
    struct wg_limit_mark *way = &l->mark[of % (WG_LIMIT_MARKS / WG_LIMIT_WAYS) * WG_LIMIT_WAYS], *oldest = way;
    for (int i = 0; i < WG_LIMIT_WAYS; i++) {
        if (way[i].of == of)
            return &way[i];
        if (way[i].quiet_at < oldest->quiet_at)
            oldest = &way[i];
    }
    return oldest;
}

static bool is_quiet(struct wg_limiter *l, uint64_t of, uint64_t now)
{
    const struct wg_limit_mark *m = mark_of(l, of);
    return m->of != of || m->quiet_at <= now;
}

static void let_in(struct wg_limiter *l, uint64_t of, uint64_t now)
{
    *mark_of(l, of) = (struct wg_limit_mark){of, now + WG_LIMIT_QUIET};
}

bool limiter_allow(struct wg_limiter *l, const struct wg_endpoint *e, uint64_t now)
{
    struct wg_limited *s = place_of(l, origin_of(e), now);
    uint64_t address = origin_host(l->seed, e), port = origin_flow(l->seed, e);
    if (!s)
        return false;
    if (!budget_take(&s->full_at, WG_LIMIT_RATE, WG_LIMIT_BURST, now) &&
        !(is_quiet(l, port, now) && budget_take(&s->ports_full_at, WG_LIMIT_RATE, WG_LIMIT_QUIET_BURST, now)) &&
        !(is_quiet(l, address, now) && budget_take(&s->addresses_full_at, WG_LIMIT_RATE, WG_LIMIT_QUIET_BURST, now)))
        return false;
    let_in(l, port, now);
    let_in(l, address, now);
    return true;
}
