/* A second, slow merge, written from the rules in offload.h, and what every output of
 * the real one must satisfy: it splits back into the very packets it was made of. */
#ifndef MERGE_MODEL_H
#define MERGE_MODEL_H

#include "ports/offload.h"
#include "split_model.h"

struct view { /* a packet as the model reads it */
    bool tcp_or_udp, keyed, odd, clean; /* clean: may be merged at all, checksums right */
    bool v4;
    uint8_t proto;
    uint32_t l4, header, payload;
};

static inline struct view view_of(const uint8_t *p, uint32_t len, unsigned what)
{
    struct view v = {0};
    uint32_t total = 0;
    if (len >= 20 && p[0] >> 4 == 4 && (p[0] & 15) >= 5) {
        v.v4 = true;
        v.l4 = (p[0] & 15u) * 4;
        total = get_be16(p + 2);
        v.proto = p[9];
        v.odd = get_be16(p + 6) & 0x3fff;
    } else if (len >= 40 && p[0] >> 4 == 6) {
        v.l4 = 40;
        total = 40u + get_be16(p + 4);
        v.proto = p[6];
        v.odd = v.proto != TCP && v.proto != UDP && v.proto != ICMPV6;
    }
    if (!v.l4 || v.l4 > len || v.l4 > total)
        return (struct view){0};
    v.tcp_or_udp = v.proto == TCP || v.proto == UDP;
    v.odd = v.odd || (v.tcp_or_udp && v.l4 + 8 > len);
    v.keyed = v.tcp_or_udp && !v.odd;
    if (!v.keyed || total != len || len > 65535 || (v.v4 && (v.l4 != 20 || !naive_ip4_ok(p))))
        return v;
    const uint8_t *t = p + v.l4;
    if (v.proto == TCP) {
        if (!(what & MERGE_TCP) || len - v.l4 < 20 || t[12] < 0x50)
            return v;
        v.header = v.l4 + (t[12] >> 4) * 4u;
        v.clean = !(t[12] & 15) && (t[13] == ACK || t[13] == (ACK | PSH));
    } else {
        v.header = v.l4 + 8;
        v.clean = (what & MERGE_UDP) && get_be16(t + 4) == len - v.l4 && get_be16(t + 6);
    }
    v.clean = v.clean && v.header < len && naive_l4_ok(p, len, v.l4, v.proto);
    v.payload = v.clean ? len - v.header : 0;
    return v;
}

static inline bool view_same_flow(const uint8_t *a, const struct view *x, const uint8_t *b, const struct view *y)
{
    return x->keyed && y->keyed && x->v4 == y->v4 && x->proto == y->proto &&
           memcmp(a + (x->v4 ? 12 : 8), b + (x->v4 ? 12 : 8), x->v4 ? 8 : 32) == 0 &&
           memcmp(a + x->l4, b + y->l4, 4) == 0;
}

/* May b follow a directly in one output, sizes and IDs apart? */
static inline bool view_follows(const uint8_t *a, const struct view *x, const uint8_t *b, const struct view *y)
{
    if (!x->clean || !y->clean || x->header != y->header || !view_same_flow(a, x, b, y))
        return false;
    if (x->v4 ? a[1] != b[1] || a[8] != b[8] || get_be16(a + 6) != get_be16(b + 6)
              : get_be32(a) != get_be32(b) || a[7] != b[7])
        return false;
    if (x->proto == UDP)
        return true;
    a += x->l4;
    b += y->l4;
    return get_be32(b + 4) == get_be32(a + 4) + x->payload && get_be32(a + 8) == get_be32(b + 8) &&
           a[13] == ACK && get_be16(a + 14) == get_be16(b + 14) && get_be16(a + 18) == get_be16(b + 18) &&
           memcmp(a + 20, b + 20, x->header - x->l4 - 20) == 0;
}

struct groups {
    uint32_t of[WG_BATCH_PACKETS], n; /* group of each packet */
};

static inline void naive_merge(struct wg_batch *b, unsigned what, struct groups *g)
{
    struct view v[WG_BATCH_PACKETS];
    struct { uint32_t last, first, count, len; int step; bool open; } out[WG_BATCH_PACKETS];
    g->n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->packet[i].live)
            continue;
        uint8_t *p = bytes_of(b, i);
        v[i] = view_of(p, b->packet[i].len, what);
        uint32_t home = UINT32_MAX;
        for (uint32_t k = 0; k < g->n; k++) {
            if (v[i].odd)
                out[k].open = false;
            if (!out[k].open || !view_same_flow(bytes_of(b, out[k].last), &v[out[k].last], p, &v[i]))
                continue;
            out[k].open = false;
            uint32_t f = out[k].first, l = out[k].last;
            int step = (uint16_t)(get_be16(p + 4) - get_be16(bytes_of(b, l) + 4));
            bool ids = !v[i].v4 || (out[k].step < 0 ? step == 1 || (step == 0 && p[6] & 0x40) : step == out[k].step);
            if (view_follows(bytes_of(b, l), &v[l], p, &v[i]) && ids && out[k].count < 64 &&
                v[l].payload == v[f].payload && v[i].payload <= v[f].payload && out[k].len + v[i].payload <= 65535) {
                home = k;
                out[k].step = v[i].v4 ? step : -1;
            }
        }
        if (home == UINT32_MAX) {
            home = g->n++;
            out[home].first = i;
            out[home].count = 0;
            out[home].len = v[i].header;
            out[home].step = -1;
        }
        out[home].last = i;
        out[home].open = v[i].clean;
        out[home].count++;
        out[home].len += v[i].payload;
        g->of[i] = home;
    }
}

static inline bool same_checksum(uint16_t a, uint16_t b) { return a == b || (a % 0xffff == 0 && b % 0xffff == 0); }

/* The same packet but for the IPv4 ID, where it did not count up, and for the two ways
 * to write a zero checksum. */
static inline void check_equal(const uint8_t *a, const uint8_t *b, uint32_t len, const struct view *v)
{
    static uint8_t x[65536], y[65536];
    memcpy(x, a, len);
    memcpy(y, b, len);
    uint32_t field[2] = {v->v4 ? 10 : v->l4 + (v->proto == TCP ? 16 : 6), v->l4 + (v->proto == TCP ? 16 : 6)};
    if (v->v4 && memcmp(x + 4, y + 4, 2) != 0) {
        CHECK(x[6] & 0x40);
        memcpy(y + 4, x + 4, 2);
        fix_ip4(y);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(same_checksum(get_be16(x + field[i]), get_be16(y + field[i])));
        memcpy(x + field[i], y + field[i], 2);
    }
    CHECK(memcmp(x, y, len) == 0);
}

/* Flattens one output and splits it; `member` lists the packets it must give back. */
static inline void check_output(const struct wg_merge *m, const struct wg_merged *o, struct wg_batch *before,
                                const uint32_t *member, unsigned what, struct wg_batch *scratch)
{
    uint8_t *flat = malloc(o->len ? o->len : 1);
    uint32_t at = 0;
    CHECK(m->iov[o->iov_start].iov_base == &o->vnet && m->iov[o->iov_start].iov_len == 10);
    CHECK(o->iov_count == o->packets + 1);
    for (uint32_t k = 1; k < o->iov_count; k++) {
        CHECK(at + m->iov[o->iov_start + k].iov_len <= o->len);
        memcpy(flat + at, m->iov[o->iov_start + k].iov_base, m->iov[o->iov_start + k].iov_len);
        at += (uint32_t)m->iov[o->iov_start + k].iov_len;
    }
    CHECK(at == o->len && o->packets <= 64);
    if (o->packets == 1) {
        static const struct wg_vnet none;
        CHECK(memcmp(&o->vnet, &none, 10) == 0);
        CHECK(o->len == before->packet[o->first].len && memcmp(flat, bytes_of(before, o->first), o->len) == 0);
    } else {
        bool v4 = flat[0] >> 4 == 4, tcp = flat[v4 ? 9 : 6] == TCP;
        uint32_t l4 = v4 ? 20 : 40, check = tcp ? 16 : 6;
        CHECK(v4 ? get_be16(flat + 2) == o->len && naive_ip4_ok(flat) : get_be16(flat + 4) == o->len - 40);
        CHECK(get_be16(flat + l4 + check) == naive_pseudo(flat, tcp ? TCP : UDP, o->len - l4));
        CHECK(tcp || get_be16(flat + l4 + 4) == o->len - l4);
        CHECK(o->vnet.flags == 1 && o->vnet.gso_type == (!tcp ? 5 : v4 ? 1 : 4));
        CHECK(o->vnet.csum_start == l4 && o->vnet.csum_offset == check);
        CHECK(o->vnet.hdr_len == l4 + (tcp ? (flat[l4 + 12] >> 4) * 4u : 8));
        struct wg_split s = {.h = o->vnet, .packet = flat, .len = o->len};
        struct wg_split again = s;
        CHECK(o->len <= 65535 && check_split(&again, scratch, true).packets == o->packets);
        batch_reset(scratch);
        CHECK(split(&s, scratch) && scratch->n == o->packets);
        for (uint32_t k = 0; k < o->packets; k++) {
            uint32_t i = member[k], len = before->packet[i].len;
            struct view v = view_of(bytes_of(before, i), len, what);
            CHECK(v.clean && scratch->packet[k].len == len);
            check_equal(bytes_of(before, i), bytes_of(scratch, k), len, &v);
        }
    }
    free(flat);
}

/* Runs merge on `b` and checks all of it. `exact`: also demand the model's grouping
 * (not where flows may share a slot of the flow table). Returns the outputs. */
static inline uint32_t check_merge(struct wg_batch *b, unsigned what, bool exact)
{
    static struct wg_batch *before, *scratch;
    static struct wg_merge *m;
    if (!before) {
        before = batch_make();
        scratch = batch_make();
        m = calloc(1, sizeof *m);
    }
    struct groups g;
    uint32_t out_of[WG_BATCH_PACKETS], used = 0, live = 0;
    uint8_t *bytes = before->bytes;
    *before = *b;
    before->bytes = bytes;
    memcpy(bytes, b->bytes, b->used);
    naive_merge(before, what, &g);
    merge(b, m, what);
    for (uint32_t i = 0; i < b->n; i++) {
        out_of[i] = UINT32_MAX;
        live += b->packet[i].live;
    }
    for (uint32_t k = 0; k < m->n; k++) {
        const struct wg_merged *o = &m->out[k];
        uint32_t member[WG_BATCH_PACKETS], n = 0;
        CHECK(o->iov_start == used && (k == 0 || o->first > m->out[k - 1].first));
        used += o->iov_count;
        CHECK(used <= sizeof m->iov / sizeof *m->iov);
        for (uint32_t j = 1; j < o->iov_count; j++)
            for (uint32_t i = 0; i < b->n; i++) {
                uint8_t *p = m->iov[o->iov_start + j].iov_base;
                if (b->packet[i].live && p >= bytes_of(b, i) && p < bytes_of(b, i) + (b->packet[i].len ? b->packet[i].len : 1)) {
                    CHECK(out_of[i] == UINT32_MAX && (n == 0 || i > member[n - 1]));
                    out_of[i] = k;
                    member[n++] = i;
                }
            }
        CHECK(n == o->packets && member[0] == o->first);
        live -= n;
        check_output(m, o, before, member, what, scratch);
    }
    CHECK(live == 0);
    for (uint32_t j = 0; j < b->n; j++)
        for (uint32_t i = 0; i < j && b->packet[j].live; i++) {
            struct view x = view_of(bytes_of(before, i), b->packet[i].len, what);
            struct view y = view_of(bytes_of(before, j), b->packet[j].len, what);
            if (b->packet[i].live && view_same_flow(bytes_of(before, i), &x, bytes_of(before, j), &y))
                CHECK(out_of[i] <= out_of[j]);
        }
    for (uint32_t i = 0; exact && i < b->n; i++)
        CHECK(!b->packet[i].live || out_of[i] == g.of[i]);
    for (uint32_t k = 0; k < m->n; k++)
        merge_undo(b, &m->out[k]);
    for (uint32_t i = 0; i < b->n; i++) {
        const uint8_t *was = bytes_of(before, i), *is = bytes_of(b, i);
        struct view v = view_of(was, b->packet[i].len, what);
        if (v.clean)
            check_equal(was, is, b->packet[i].len, &v);
        else
            CHECK(memcmp(was, is, b->packet[i].len) == 0);
    }
    return m->n;
}

#endif
