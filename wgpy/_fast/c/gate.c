#include "gate.h"

#include "siphash.h"

/* --- sources --- */

/* How dear a place is: free, then long unseen, then preferred. */
static uint64_t worth(const struct wg_gate_source *s, uint64_t now)
{
    if (!s->family)
        return 0;
    return 1 + s->seen / 2 + (s->preferred_until > now ? UINT64_C(1) << 63 : 0);
}

/* The source's place; a new source takes the least worthy of WG_GATE_WAYS. */
static struct wg_gate_source *find(struct wg_gate *g, const struct wg_endpoint *e, uint64_t now)
{
    uint64_t address = 0;
    memcpy(&address, e->addr, e->family == 4 ? 4 : 8);
    uint32_t set = (uint32_t)siphash(g->seed, address, e->family) % (WG_GATE_SOURCES / WG_GATE_WAYS);
    struct wg_gate_source *way = &g->source[set * WG_GATE_WAYS], *victim = way;
    for (int i = 0; i < WG_GATE_WAYS; i++) {
        if (way[i].family == e->family && way[i].address == address)
            return &way[i];
        if (worth(&way[i], now) < worth(victim, now))
            victim = &way[i];
    }
    if (victim->family && (now - victim->seen < WG_SECOND || victim->preferred_until > now))
        count(&g->evicted, 1);
    *victim = (struct wg_gate_source){.address = address, .family = e->family};
    return victim;
}

/* Takes one from a budget of `rate` a second that holds a second's worth. */
static bool spend(uint64_t *full_at, uint32_t rate, uint64_t now)
{
    uint64_t from = *full_at > now ? *full_at : now, cost = WG_SECOND / rate;
    if (from + cost > now + WG_SECOND)
        return false;
    *full_at = from + cost;
    return true;
}

static uint32_t message_type(const uint8_t *d, uint32_t len)
{
    uint32_t type = len >= 4 ? get_le32(d) : 0; /* with the three reserved bytes */
    switch (type) {
    case WG_INITIATION: return len == WG_INITIATION_LEN ? type : 0;
    case WG_RESPONSE: return len == WG_RESPONSE_LEN ? type : 0;
    case WG_COOKIE_REPLY: return len == WG_COOKIE_REPLY_LEN ? type : 0;
    case WG_TRANSPORT: return len >= WG_OVERHEAD ? type : 0;
    default: return 0;
    }
}

static bool afford(struct wg_gate_source *s, uint32_t type, uint64_t now)
{
    bool preferred = s->preferred_until > now;
    s->seen = now;
    if (type == WG_TRANSPORT)
        return preferred || spend(&s->transport, WG_GATE_TRANSPORT, now);
    return spend(&s->handshakes, preferred ? WG_GATE_HANDSHAKES_PREFERRED : WG_GATE_HANDSHAKES, now);
}

/* --- stages --- */

static void gate_run(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_gate *g = (struct wg_gate *)((uint8_t *)stage - offsetof(struct wg_gate, stage));
    struct wg_gate_source *source = NULL;
    uint32_t last = UINT32_MAX; /* a train has one endpoint: look it up once */
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        uint32_t type = message_type(b->bytes + p->off, p->len);
        if (!type || p->ep >= b->endpoints || !b->endpoint[p->ep].family) {
            batch_drop(b, p, WG_DROP_not_wireguard);
            continue;
        }
        if (p->ep != last)
            source = find(g, &b->endpoint[last = p->ep], b->now);
        if (!afford(source, type, b->now))
            batch_drop(b, p, WG_DROP_source_budget);
    }
    pthread_mutex_unlock(&g->lock);
}

static void tap_run(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_gate *g = (struct wg_gate *)((uint8_t *)stage - offsetof(struct wg_gate, tap));
    uint32_t last = UINT32_MAX;
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < b->n; i++) {
        const struct wg_packet *p = &b->packet[i];
        if (!p->live || p->ep == last || p->ep >= b->endpoints || !b->endpoint[p->ep].family ||
            message_type(b->bytes + p->off, p->len) != WG_TRANSPORT)
            continue;
        struct wg_gate_source *s = find(g, &b->endpoint[last = p->ep], b->now);
        s->seen = b->now;
        s->preferred_until = b->now + WG_GATE_PREFERRED;
    }
    pthread_mutex_unlock(&g->lock);
}

void gate_init(struct wg_gate *g, const uint64_t seed[2])
{
    memset(g, 0, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    memcpy(g->seed, seed, sizeof g->seed);
    g->stage.run = gate_run;
    g->tap.run = tap_run;
}

void gate_free(struct wg_gate *g) { pthread_mutex_destroy(&g->lock); }
