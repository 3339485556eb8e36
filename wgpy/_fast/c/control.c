/* What the control side changes in one locked step. Nothing of Python runs under these
 * locks: an exception there would leave them held for ever. */
#include "plane.h"

/* 0 for a length that no address has; the trie refuses it. */
static int family_of(size_t len) { return len == 4 ? 4 : len == 16 ? 6 : 0; }

void plane_set_endpoint(struct wg_plane *p, uint32_t slot, const struct wg_endpoint *to)
{
    struct wg_peer *peer = &p->peer[slot];
    pthread_mutex_lock(&peer->lock);
    peer->endpoint = *to;
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
