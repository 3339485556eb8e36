#include "ratelimit.h"

bool limiter_allow(struct wg_limiter *l, const struct wg_endpoint *e, uint64_t now)
{
    struct wg_origin s = origin_of(e);
    struct wg_limited *way = &l->source[origin_place(l->seed, s, WG_LIMIT_SOURCES / WG_LIMIT_WAYS) * WG_LIMIT_WAYS];
    struct wg_limited *place = NULL;
    for (int i = 0; i < WG_LIMIT_WAYS; i++) {
        if (same_origin(way[i].of, s)) {
            place = &way[i];
            break;
        }
        if (!place && way[i].full_at <= now)
            place = &way[i];
    }
    if (!place)
        return false;
    if (!same_origin(place->of, s))
        *place = (struct wg_limited){.of = s};
    return budget_take(&place->full_at, WG_LIMIT_RATE, WG_LIMIT_BURST, now);
}
