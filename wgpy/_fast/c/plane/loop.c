/* Owns `via` and `via_at` of peers, which are atomic, each for itself: threads that seal write them
 * under their read locks. */
#include "loop.h"

/* The path of a peer's datagrams through another peer's session, seen in the TUN, is believed
 * for that long: a changed route heals by itself, and a round of a loop is faster. */
#define VIA_LASTS WG_SECOND
enum { MOST_HOPS = 16 };

/* The UDP header; NULL without one, or when not even type and index follow. A first fragment
 * counts: our datagrams leave without DF, and whole fragments would go round for ever. */
static const uint8_t *udp_of(const struct wg_ip *ip, const uint8_t *packet)
{
    uint32_t at = ip->header_len, offset = 0;
    uint8_t proto = ip->proto;
    if (ip->version == 4) {
        offset = get_be16(packet + 6) & 0x1fff;
    } else if (proto == IPV6_FRAGMENT && ip->total_len >= at + 8) {
        proto = packet[at];
        offset = get_be16(packet + at + 2) & 0xfff8;
        at += 8;
    }
    return proto == IP_UDP && !offset && ip->total_len >= at + LOOP_UDP + LOOP_MESSAGE ? packet + at : NULL;
}

static bool goes_to(struct wg_peer *peer, const struct wg_ip *ip, uint16_t port)
{
    pthread_mutex_lock(&peer->lock);
    const struct wg_endpoint *e = &peer->endpoint;
    bool same = e->family == ip->version && e->port == port && !memcmp(e->addr, ip->dst, e->family == 4 ? 4 : 16);
    pthread_mutex_unlock(&peer->lock);
    return same;
}

/* The peer that the message was sent to, or WG_NO_PEER when it is not ours. A cookie reply has no
 * index of ours; it cannot go round, since it is a transport message from then on. */
static uint32_t sent_to(struct wg_plane *p, const struct wg_ip *ip, const uint8_t *udp)
{
    uint32_t type = get_le32(udp + LOOP_UDP), index = get_le32(udp + LOOP_UDP + 4), ref;
    uint16_t port = get_be16(udp + 2);
    if (type == WG_INITIATION || type == WG_RESPONSE) {
        ref = index_find(&p->index, index);
        if (ref && goes_to(&p->peer[(ref - 1) / WG_REFS], ip, port))
            return (ref - 1) / WG_REFS;
    } else if (type == WG_TRANSPORT) {
        uint32_t key = plane_remote_key(p, index), at = key;
        while ((ref = index_next(&p->remotes, key, &at)) != 0) {
            struct wg_peer *peer = &p->peer[(ref - 1) / WG_REFS];
            if (peer->keypair[(ref - 1) % WG_REFS].remote == index && goes_to(peer, ip, port))
                return (ref - 1) / WG_REFS;
        }
    }
    return WG_NO_PEER;
}

bool loop_closes(struct wg_plane *p, const struct wg_ip *ip, const uint8_t *packet, uint32_t owner, uint64_t now)
{
    const uint8_t *udp = udp_of(ip, packet);
    uint32_t slot = udp ? sent_to(p, ip, udp) : WG_NO_PEER;
    if (slot == WG_NO_PEER)
        return false;
    if (owner == WG_NO_PEER)
        return true;
    uint32_t hop = owner, via;
    for (int hops = 0; hop != slot; hops++) {
        const struct wg_peer *peer = &p->peer[hop];
        via = atomic_load_explicit(&peer->via, memory_order_relaxed);
        if (!via || relaxed(&peer->via_at) + VIA_LASTS <= now)
            break;
        if (hops == MOST_HOPS)
            return true;
        hop = via - 1;
    }
    if (hop == slot)
        return true;
    set_relaxed(&p->peer[slot].via_at, now);
    atomic_store_explicit(&p->peer[slot].via, owner + 1, memory_order_relaxed);
    return false;
}
