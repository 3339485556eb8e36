#include "ratelimit.h"

#include "siphash.h"

static const uint8_t MAPPED[12] = {[10] = 0xff, 0xff}; /* ::ffff:0:0/96, RFC 4291 */

bool limiter_allow(struct wg_limiter *l, const struct wg_endpoint *e, uint64_t now)
{
    bool mapped = e->family == 6 && !memcmp(e->addr, MAPPED, sizeof MAPPED);
    uint8_t family = mapped ? 4 : e->family;
    uint64_t address = 0;
    memcpy(&address, e->addr + (mapped ? sizeof MAPPED : 0), family == 4 ? 4 : 8);
    uint32_t set = (uint32_t)siphash(l->seed, address, family) % (WG_LIMIT_SOURCES / WG_LIMIT_WAYS);
    struct wg_limited *way = &l->source[set * WG_LIMIT_WAYS], *place = NULL;
    for (int i = 0; i < WG_LIMIT_WAYS; i++) {
        if (way[i].family == family && way[i].address == address) {
            place = &way[i];
            break;
        }
        if (!place && way[i].full_at <= now)
            place = &way[i];
    }
    if (!place)
        return false;
    if (place->family != family || place->address != address)
        *place = (struct wg_limited){.address = address, .family = family};
    return budget_take(&place->full_at, WG_LIMIT_RATE, WG_LIMIT_BURST, now);
}
