/* What the control side changes in one locked step. Nothing of Python runs under these
 * locks: an exception there would leave them held for ever. */
#include "plane.h"

#include <errno.h>

/* 0 for a length that no address has; the trie refuses it. */
static int family_of(size_t len) { return len == 4 ? 4 : len == 16 ? 6 : 0; }

void plane_set_endpoint(struct wg_plane *p, uint32_t slot, const struct wg_endpoint *to)
{
    struct wg_peer *peer = &p->peer[slot];
    pthread_mutex_lock(&peer->lock);
    peer->endpoint = *to;
    if (to->family)
        admission_know(&p->admission, to);
    pthread_mutex_unlock(&peer->lock);
}

void plane_get_endpoint(struct wg_plane *p, uint32_t slot, struct wg_endpoint *out)
{
    struct wg_peer *peer = &p->peer[slot];
    pthread_mutex_lock(&peer->lock);
    *out = peer->endpoint;
    pthread_mutex_unlock(&peer->lock);
}

void plane_clear_source(struct wg_plane *p, uint32_t slot)
{
    struct wg_peer *peer = &p->peer[slot];
    pthread_mutex_lock(&peer->lock);
    peer->endpoint.source = WG_SOURCE_NONE;
    pthread_mutex_unlock(&peer->lock);
}

int plane_allow(struct wg_plane *p, uint32_t slot, const uint8_t *addr, size_t len, unsigned cidr)
{
    plane_write_lock(p);
    int ret = trie_insert(p->trie, family_of(len), addr, cidr, slot);
    plane_write_unlock(p);
    return ret;
}

int plane_disallow(struct wg_plane *p, uint32_t slot, const uint8_t *addr, size_t len, unsigned cidr)
{
    plane_write_lock(p);
    int ret = trie_remove(p->trie, family_of(len), addr, cidr, slot);
    plane_write_unlock(p);
    return ret;
}

void plane_disallow_all(struct wg_plane *p, uint32_t slot)
{
    plane_write_lock(p);
    trie_remove_peer(p->trie, slot);
    plane_write_unlock(p);
}

uint32_t plane_lookup(const struct wg_plane *p, const uint8_t *addr, size_t len)
{
    return trie_lookup(p->trie, family_of(len), addr);
}

void plane_prefixes(const struct wg_plane *p, trie_each each, void *arg) { trie_walk(p->trie, WG_NO_PEER, each, arg); }
uint32_t plane_prefix_count(const struct wg_plane *p) { return trie_count(p->trie); }

bool plane_has(const struct wg_plane *p, uint32_t slot) { return slot < p->max_peers && p->peer[slot].used; }

int plane_send(struct wg_plane *p, const uint8_t *datagram, size_t len, uint32_t slot, uint8_t tos,
               const struct wg_endpoint *to)
{
    int ret = len > WG_LANE_BYTES ? -EMSGSIZE : lane_put(&p->to_udp, datagram, (uint32_t)len, slot, tos, to);
    if (ret == -ENOBUFS)
        count(&p->drops[WG_DROP_lane_full], 1);
    if (ret)
        return ret;
    if (slot != WG_NO_PEER)
        add_atomic(&p->peer[slot].tx_bytes, len);
    wake(&p->seal_waker);
    return 0;
}

void plane_received(struct wg_plane *p, uint32_t slot, uint32_t octets) { add_atomic(&p->peer[slot].rx_bytes, octets); }

void plane_set_counter(struct wg_plane *p, uint32_t slot, uint64_t counter)
{
    struct wg_peer *peer = &p->peer[slot];
    plane_write_lock(p);
    if (peer->current != NO_KEYPAIR)
        set_relaxed(&peer->keypair[peer->current].counter, counter);
    plane_write_unlock(p);
}

void plane_notices_begin(struct wg_plane *p) { wake_clear(&p->up); }

bool plane_notices_next(struct wg_plane *p, struct wg_notice *out)
{
    if (marks_take(&p->notices, &out->slot, &out->bits)) {
        out->promoted = atomic_load(&p->peer[out->slot].promoted);
        return true;
    }
    if (plane_handshake_depth(p))
        wake(&p->up);
    return false;
}

bool plane_take_handshake(struct wg_plane *p, bool cookies, struct wg_handshake *out)
{
    return handshakes_take(cookies ? &p->cookies : &p->handshakes, out);
}

uint32_t plane_handshake_depth(struct wg_plane *p)
{
    return handshakes_depth(&p->handshakes) + handshakes_depth(&p->cookies);
}

bool plane_under_load(const struct wg_plane *p, uint64_t now) { return admission_under_load(&p->admission, now); }

void plane_activity(const struct wg_plane *p, uint32_t slot, struct wg_activity *out)
{
    const struct wg_peer *peer = &p->peer[slot];
    *out = (struct wg_activity){
        .unanswered_since = relaxed(&peer->unanswered_since),
        .unacknowledged_since = relaxed(&peer->unacknowledged_since),
        .last_data_received = relaxed(&peer->last_data_received),
        .last_received = relaxed(&peer->last_received),
        .last_sent = relaxed(&peer->last_sent),
    };
}

void plane_stats(const struct wg_plane *p, uint32_t slot, struct wg_stats *out)
{
    const struct wg_peer *peer = &p->peer[slot];
    *out = (struct wg_stats){
        .rx_bytes = relaxed(&peer->rx_bytes), .tx_bytes = relaxed(&peer->tx_bytes),
        .rx_packets = relaxed(&peer->rx_packets), .tx_packets = relaxed(&peer->tx_packets),
        .staged = peer->staged.count,
    };
}
