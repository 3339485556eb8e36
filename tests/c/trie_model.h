/* Allowed IPs as a plain list, searched from end to end. */
#ifndef TRIE_MODEL_H
#define TRIE_MODEL_H

#include <errno.h>

#include "check.h"
#include "plane/trie.h"

enum { MODEL_MAX = 512 };
struct entry {
    uint8_t addr[16];
    int family;
    unsigned cidr;
    uint32_t peer;
};
struct model {
    struct entry e[MODEL_MAX];
    uint32_t n, limit;
};

static inline bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned cidr)
{
    for (unsigned i = 0; i < cidr; i++)
        if ((a[i / 8] >> (7 - i % 8) & 1) != (b[i / 8] >> (7 - i % 8) & 1))
            return false;
    return true;
}

static inline struct entry *model_find(struct model *m, int family, const uint8_t *a, unsigned cidr)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->e[i].family == family && m->e[i].cidr == cidr && prefix_equal(m->e[i].addr, a, cidr))
            return &m->e[i];
    return NULL;
}

static inline int model_insert(struct model *m, int family, const uint8_t *a, unsigned cidr, uint32_t peer)
{
    if ((family != 4 && family != 6) || cidr > (family == 4 ? 32u : 128u) || peer == WG_NO_PEER)
        return -EINVAL;
    struct entry *e = model_find(m, family, a, cidr);
    if (!e && m->n == m->limit)
        return -ENOSPC;
    if (!e)
        e = &m->e[m->n++];
    *e = (struct entry){.family = family, .cidr = cidr, .peer = peer};
    for (unsigned i = 0; i < cidr; i++)
        e->addr[i / 8] |= (uint8_t)(a[i / 8] & 0x80 >> i % 8);
    return 0;
}

static inline int model_remove(struct model *m, int family, const uint8_t *a, unsigned cidr, uint32_t peer)
{
    if ((family != 4 && family != 6) || cidr > (family == 4 ? 32u : 128u) || peer == WG_NO_PEER)
        return -EINVAL;
    struct entry *e = model_find(m, family, a, cidr);
    if (!e || e->peer != peer)
        return -ENOENT;
    *e = m->e[--m->n];
    return 0;
}

static inline void model_remove_peer(struct model *m, uint32_t peer)
{
    for (uint32_t i = 0; i < m->n;)
        if (m->e[i].peer == peer)
            m->e[i] = m->e[--m->n];
        else
            i++;
}

static inline uint32_t model_lookup(struct model *m, int family, const uint8_t *a)
{
    const struct entry *best = NULL;
    for (uint32_t i = 0; i < m->n; i++)
        if (m->e[i].family == family && prefix_equal(m->e[i].addr, a, m->e[i].cidr) &&
            (!best || m->e[i].cidr > best->cidr))
            best = &m->e[i];
    return best ? best->peer : WG_NO_PEER;
}

struct walked {
    struct model *m;
    struct entry last;
    uint32_t n, peer;
};

static inline int entry_order(const struct entry *a, const struct entry *b)
{
    int c = a->family - b->family;
    c = c ? c : memcmp(a->addr, b->addr, 16);
    return c ? c : (int)a->cidr - (int)b->cidr;
}

static inline void model_visit(void *arg, int family, const uint8_t addr[16], unsigned cidr, uint32_t peer)
{
    struct walked *w = arg;
    struct entry now = {.family = family, .cidr = cidr, .peer = peer};
    memcpy(now.addr, addr, 16);
    struct entry *e = model_find(w->m, family, addr, cidr);
    CHECK(e && e->peer == peer && memcmp(e->addr, addr, 16) == 0);
    CHECK(w->peer == WG_NO_PEER || w->peer == peer);
    CHECK(w->n++ == 0 || entry_order(&w->last, &now) < 0);
    w->last = now;
}

/* The walk gives the model's entries, each once, sorted. */
static inline void check_walk(const struct wg_trie *t, struct model *m, uint32_t peer)
{
    struct walked w = {.m = m, .peer = peer};
    uint32_t want = 0;
    for (uint32_t i = 0; i < m->n; i++)
        want += peer == WG_NO_PEER || m->e[i].peer == peer;
    trie_walk(t, peer, model_visit, &w);
    CHECK(w.n == want && trie_count(t) == m->n);
}

#endif
