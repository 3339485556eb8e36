/* Whom a bound applies to: an IPv4 address or an IPv6 /64; an IPv4-mapped address (RFC 4291) is
 * the IPv4 address. Tables of sources are indexed with a seed that is random and secret, which
 * keeps sources from being made to collide. */
#ifndef WG_ORIGIN_H
#define WG_ORIGIN_H

#include "batch.h"
#include "siphash.h"

struct wg_origin {
    uint64_t address; /* as bytes, of an IPv6 address the first 8 */
    uint8_t family;   /* 0: none */
};

static inline struct wg_origin origin_of(const struct wg_endpoint *e)
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    bool is_mapped = e->family == 6 && !memcmp(e->addr, mapped, sizeof mapped);
    struct wg_origin s = {.family = is_mapped ? 4 : e->family};
    memcpy(&s.address, e->addr + (is_mapped ? sizeof mapped : 0), s.family == 4 ? 4 : 8);
    return s;
}

/* A network of many: an IPv4 /16 or an IPv6 /32. */
static inline struct wg_origin origin_net(const struct wg_endpoint *e)
{
    struct wg_origin s = origin_of(e);
    uint64_t net = 0;
    memcpy(&net, &s.address, s.family == 4 ? 2 : 4);
    s.address = net;
    return s;
}

static inline bool same_origin(struct wg_origin a, struct wg_origin b)
{
    return a.family == b.family && a.address == b.address;
}

/* Hashes of the whole address, and of it and the port: parts of an origin. */
static inline uint64_t origin_host(const uint64_t seed[2], const struct wg_endpoint *e)
{
    struct wg_origin s = origin_of(e);
    uint64_t rest = 0;
    if (s.family == 6)
        memcpy(&rest, e->addr + 8, sizeof rest);
    return siphash(seed, siphash(seed, s.address, s.family) ^ rest, 0);
}

static inline uint64_t origin_flow(const uint64_t seed[2], const struct wg_endpoint *e)
{
    return siphash(seed, origin_host(seed, e) ^ e->port, 1);
}

static inline uint32_t origin_place(const uint64_t seed[2], struct wg_origin s, uint32_t places)
{
    return (uint32_t)siphash(seed, s.address, s.family) % places;
}

#endif
