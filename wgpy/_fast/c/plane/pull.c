/* The seal stage between its batches: packets of its own making (handshake datagrams, what was
 * staged, keepalives, cookie replies), and where its endpoints come from. Locks are those of seal.c. */
#include "core/ip.h"
#include "seal.h"

/* A hint that names no peer of its hash in this batch proves that the peer is not there yet. */
int seal_add_endpoint(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    uint16_t *hint = &s->ep_hint[slot % WG_EP_HINTS];
    bool collision = *hint < b->endpoints && s->ep_peer[*hint] % WG_EP_HINTS == slot % WG_EP_HINTS;
    for (uint32_t i = collision ? b->endpoints : 0; i-- > 0;)
        if (s->ep_peer[i] == slot)
            return (int)i;
    struct wg_peer *peer = &s->base.plane->peer[slot];
    if (b->endpoints == WG_BATCH_PACKETS)
        return -1;
    pthread_mutex_lock(&peer->lock);
    b->endpoint[b->endpoints] = peer->endpoint;
    pthread_mutex_unlock(&peer->lock);
    if (!b->endpoint[b->endpoints].family)
        return -1;
    s->ep_peer[b->endpoints] = slot;
    *hint = (uint16_t)b->endpoints;
    return (int)b->endpoints++;
}

void seal_ask_for_key(struct wg_plane *plane, uint32_t slot, uint64_t now)
{
    struct wg_peer *peer = &plane->peer[slot];
    uint64_t asked = relaxed(&peer->key_needed_at);
    if (asked && now - asked < WG_REKEY_TIMEOUT)
        return;
    set_relaxed(&peer->key_needed_at, now);
    plane_raise(plane, slot, NOTICE_KEY_NEEDED);
}

/* At most `most` of the lane; true when the batch has no room for the next. */
static bool pull_lane(struct wg_seal_stage *s, struct wg_batch *b, struct wg_lane *lane, uint32_t most)
{
    const struct wg_lane_entry *e;
    for (; most && (e = lane_peek(lane)) != NULL; most--) {
        if (!batch_has_room(b, 1, e->len) || b->endpoints == WG_BATCH_PACKETS)
            return true;
        int ep;
        if (e->peer == WG_NO_PEER) {
            uint32_t had = b->endpoints;
            ep = batch_endpoint(b, &e->endpoint);
            if (b->endpoints > had)
                s->ep_peer[ep] = WG_NO_PEER;
        } else {
            ep = s->base.plane->peer[e->peer].used ? endpoint_of(s, b, e->peer) : -1;
        }
        if (ep >= 0) {
            struct wg_packet *p = batch_append(b, e->len);
            memcpy(b->bytes + p->off, e->bytes, e->len);
            p->ep = (uint16_t)ep;
            p->tos = e->tos;
            p->kind = WG_FINISHED;
            p->peer = e->peer;
        } else {
            count(&b->drops[WG_DROP_no_endpoint], 1);
        }
        if (lane == &s->base.plane->replies)
            admission_pop_reply(s->base.plane);
        else
            lane_pop(lane);
    }
    return false;
}

/* Moves the peer's staged packets into the batch; true when some had no room. */
static bool resume(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    struct wg_peer *peer = &s->base.plane->peer[slot];
    bool more = false;
    pthread_mutex_lock(&peer->lock);
    for (int32_t len; !more && (len = staged_peek(&peer->staged)) >= 0;) {
        if (!batch_has_room(b, 1, (uint32_t)len)) {
            more = true;
            break;
        }
        struct wg_packet *p = batch_append(b, (uint32_t)len);
        staged_pop(&s->base.plane->pool, &peer->staged, b->bytes + p->off);
        struct wg_ip ip;
        p->tos = len && ip_parse(b->bytes + p->off, p->len, &ip) ? ecn_outer(ip.tos) : 0;
        p->kind = WG_RESUMED;
        p->peer = slot;
    }
    pthread_mutex_unlock(&peer->lock);
    return more;
}

static void stage_keepalive(struct wg_seal_stage *s, uint32_t slot)
{
    struct wg_peer *peer = &s->base.plane->peer[slot];
    pthread_mutex_lock(&peer->lock);
    if (!peer->staged.count)
        staged_push(&s->base.plane->pool, &peer->staged, NULL, 0);
    pthread_mutex_unlock(&peer->lock);
}

static bool pull_replies(struct wg_seal_stage *s, struct wg_batch *b)
{
    struct wg_plane *p = s->base.plane;
    uint32_t allowed = admission_replies_due(p, &s->replies_at, b->room, b->now);
    pull_lane(s, b, &p->replies, allowed);
    bool more = lane_peek(&p->replies) != NULL;
    b->held = more && allowed < WG_REPLIES_A_BATCH;
    return more && !b->held;
}

bool seal_pull(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    wake_clear(&s->base.plane->seal_waker);
    plane_read_lock(s->base.plane, s->base.lock);
    bool more = pull_lane(s, b, &s->base.plane->to_udp, UINT32_MAX);
    uint32_t slot, bits;
    while (!more && marks_take(&s->base.plane->wants, &slot, &bits)) {
        struct wg_peer *peer = &s->base.plane->peer[slot];
        if (!peer->used)
            continue;
        if (bits & WANT_KEEPALIVE)
            stage_keepalive(s, slot);
        if (usable_key(peer, b->now)) {
            more = resume(s, b, slot);
            if (more)
                plane_want(s->base.plane, slot, WANT_FLUSH);
        } else if (peer->staged.count) {
            seal_ask_for_key(s->base.plane, slot, b->now);
        }
    }
    if (!more)
        more = pull_replies(s, b);
    s->pulled_endpoints = b->endpoints;
    s->pulled_at = s->base.plane->removals;
    plane_read_unlock(s->base.plane, s->base.lock);
    return more;
}

void seal_sent(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    for (uint32_t i = 0; i < b->endpoints; i++) {
        if (b->endpoint[i].source != WG_SOURCE_STALE || s->ep_peer[i] == WG_NO_PEER)
            continue;
        struct wg_peer *peer = &s->base.plane->peer[s->ep_peer[i]];
        plane_read_lock(s->base.plane, s->base.lock);
        if (peer->used) {
            pthread_mutex_lock(&peer->lock);
            if (!memcmp(peer->endpoint.local, b->endpoint[i].local, sizeof peer->endpoint.local))
                peer->endpoint.source = WG_SOURCE_NONE;
            pthread_mutex_unlock(&peer->lock);
        }
        plane_read_unlock(s->base.plane, s->base.lock);
    }
}
