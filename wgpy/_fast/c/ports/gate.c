/* Owns the table of sources: `lock` guards it, since gate and tap run on two pumps. The seed and the
 * lengths never change, `evicted` is a counter. */
#include "gate.h"

/* --- sources --- */

/* The source's place, or that of the one which is preferred for the shortest time. */
static struct wg_gate_source *find(struct wg_gate *g, struct wg_origin s, bool *found)
{
    struct wg_gate_source *way = &g->source[origin_place(g->seed, s, WG_GATE_SOURCES / WG_GATE_WAYS) * WG_GATE_WAYS];
    struct wg_gate_source *oldest = way;
    for (int i = 0; i < WG_GATE_WAYS; i++) {
        *found = same_origin(way[i].of, s);
        if (*found)
            return &way[i];
        if (way[i].preferred_until < oldest->preferred_until)
            oldest = &way[i];
    }
    return oldest;
}

static bool is_preferred(struct wg_gate *g, const struct wg_endpoint *e, uint64_t now)
{
    bool found;
    const struct wg_gate_source *place = find(g, origin_of(e), &found);
    return found && place->preferred_until > now;
}

static void prefer(struct wg_gate *g, const struct wg_endpoint *e, uint64_t now)
{
    bool found;
    struct wg_origin s = origin_of(e);
    struct wg_gate_source *place = find(g, s, &found);
    if (!found && place->preferred_until > now)
        count(&g->evicted, 1);
    *place = (struct wg_gate_source){.of = s, .preferred_until = now + WG_GATE_PREFERRED};
}

/* --- stages --- */

static void gate_run(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_gate *g = (struct wg_gate *)((uint8_t *)stage - offsetof(struct wg_gate, stage));
    uint32_t last = UINT32_MAX; /* a train has one endpoint: look it up once */
    uint32_t taken = g->sink->filled ? g->sink->filled(g->sink) : 0;
    bool passes = true;
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        if (!message_type(&g->lengths, b->bytes + p->off, p->len) || p->ep >= b->endpoints || !b->endpoint[p->ep].family) {
            batch_drop(b, p, WG_DROP_not_wireguard);
            continue;
        }
        if (p->ep != last) {
            passes = taken < WG_GATE_OTHERS || is_preferred(g, &b->endpoint[p->ep], b->now);
            taken += g->sink->filled && passes;
            last = p->ep;
        }
        if (!passes)
            batch_drop(b, p, WG_DROP_ring_share);
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
            message_type(&g->lengths, b->bytes + p->off, p->len) != WG_TRANSPORT)
            continue;
        prefer(g, &b->endpoint[last = p->ep], b->now);
    }
    pthread_mutex_unlock(&g->lock);
}

void gate_init(struct wg_gate *g, const uint64_t seed[2], struct wg_port *sink, const struct wg_lengths *lengths)
{
    memset(g, 0, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    memcpy(g->seed, seed, sizeof g->seed);
    g->sink = sink;
    g->lengths = *lengths;
    g->stage.run = gate_run;
    g->tap.run = tap_run;
}

void gate_free(struct wg_gate *g) { pthread_mutex_destroy(&g->lock); }
