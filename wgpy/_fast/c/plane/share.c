/* Owns the shares of plane and peers: atomic, without a lock; what one thread of a group adds while
 * another begins a period may be lost. Claims are in the stage, its thread's own. */
#include "stage.h"

static void window_add(struct wg_window *w, uint64_t period, uint64_t n)
{
    uint64_t was = relaxed(&w->period);
    if (was < period && atomic_compare_exchange_strong(&w->period, &was, period)) {
        set_relaxed(&w->last, was + 1 == period ? relaxed(&w->now) : 0);
        set_relaxed(&w->now, 0);
    }
    add_atomic(&w->now, n);
}

struct halves {
    uint64_t one, other;
};

static struct halves window_halves(const struct wg_window *w, uint64_t period)
{
    uint64_t at = relaxed(&w->period);
    if (at + 1 < period)
        return (struct halves){0};
    return (struct halves){relaxed(&w->now), at < period ? 0 : relaxed(&w->last)};
}

static uint64_t window_sum(const struct wg_window *w, uint64_t period)
{
    struct halves h = window_halves(w, period);
    return h.one + h.other;
}

/* Of a count of those who are there, which the sum would give twice. */
static uint64_t window_most(const struct wg_window *w, uint64_t period)
{
    struct halves h = window_halves(w, period);
    return h.one > h.other ? h.one : h.other;
}

static uint64_t cost(uint64_t bytes, uint64_t packets) { return bytes + packets * WG_PACKET_COST; }

void share_charge(struct wg_plane *p, uint32_t slot, uint64_t bytes, uint64_t packets, uint64_t now)
{
    uint64_t period = now / WG_SHARE_PERIOD, present = now / WG_PRESENT_PERIOD;
    window_add(&p->share.work, period, cost(bytes, packets));
    if (slot == WG_NO_PEER)
        return;
    struct wg_peer_share *mine = &p->peer[slot].share;
    window_add(&mine->work, period, cost(bytes, packets));
    uint64_t was = relaxed(&mine->present); /* several threads hear of a peer at once, one counts it */
    if (was < present && atomic_compare_exchange_strong(&mine->present, &was, present))
        window_add(&p->share.peers, present, 1);
}

/* Whose keypair the packet names, without a proof; `cost` of it is added to what that peer
 * claims of the batch. */
static uint32_t claim(struct wg_open_stage *s, const struct wg_batch *b, struct wg_packet *p, uint32_t claims)
{
    const uint8_t *d = b->bytes + p->off;
    if (!p->live || p->kind == WG_FINISHED || message_type(&s->base.plane->lengths, d, p->len) != WG_TRANSPORT ||
        !plane_find(s->base.plane, get_le32(d + 4), &p->peer))
        return claims;
    uint32_t i = claims && s->claim[s->claimed].slot == p->peer ? s->claimed : 0;
    while (i < claims && s->claim[i].slot != p->peer)
        i++;
    if (i == claims)
        s->claim[claims++] = (struct wg_claim){.slot = p->peer};
    s->claim[i].cost += cost(p->len, 1);
    s->claimed = i;
    return claims;
}

/* More of the recent work than one part in as many as there are peers, by a quarter: equal peers
 * are never all greedy, whatever was lost of the sum. */
static bool is_greedy(const struct wg_plane *p, uint32_t slot, uint64_t now)
{
    uint64_t period = now / WG_SHARE_PERIOD, peers = window_most(&p->share.peers, now / WG_PRESENT_PERIOD);
    uint64_t mine = window_sum(&p->peer[slot].share.work, period), all = window_sum(&p->share.work, period);
    return mine * peers > all + all / 4;
}

void share_out(struct wg_open_stage *s, struct wg_batch *b)
{
    uint64_t all = 0, most = 0;
    uint32_t claims = 0;
    bool any = false;
    for (uint32_t i = 0; i < b->n; i++)
        claims = claim(s, b, &b->packet[i], claims);
    for (uint32_t i = 0; i < claims; i++) {
        struct wg_claim *c = &s->claim[i];
        all += c->cost;
        c->greedy = is_greedy(s->base.plane, c->slot, b->now);
        any |= c->greedy;
        if (!c->greedy && c->cost > most)
            most = c->cost;
    }
    if (!any)
        return;
    if (most < all / WG_SHARE_LEAST)
        most = all / WG_SHARE_LEAST;
    for (uint32_t i = 0; i < claims; i++)
        s->claim[i].excess = s->claim[i].greedy && s->claim[i].cost > most ? s->claim[i].cost - most : 0;
    for (uint32_t i = 0, at = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live || p->peer == WG_NO_PEER || p->kind == WG_FINISHED)
            continue;
        for (uint32_t tries = 0; tries < claims && s->claim[at].slot != p->peer; tries++)
            at = at + 1 < claims ? at + 1 : 0;
        struct wg_claim *c = &s->claim[at];
        if (c->slot != p->peer || !c->excess)
            continue;
        uint64_t less = cost(p->len, 1);
        c->excess = c->excess > less ? c->excess - less : 0;
        batch_drop(b, p, WG_DROP_peer_share);
    }
}
