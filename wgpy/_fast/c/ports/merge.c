/* Joins segments of a flow. Owns nothing and locks nothing: all state is in the caller's wg_merge, for
 * one batch. */
#include "core/ip.h"
#include "offload.h"

enum { TCP_PSH = 8, TCP_ACK = 16 };
enum { FLOWS = 128, NONE = UINT16_MAX };

/* What a packet means for merging. */
enum kind {
    APART,   /* belongs to no TCP or UDP flow */
    BARRIER, /* may belong to any flow: fragments, IPv6 extension headers */
    CLOSER,  /* of a flow, goes alone, and ends that flow's output */
    CANDIDATE,
};

struct seg {
    struct wg_ip ip;
    const uint8_t *p;
    uint32_t l4, header, payload; /* offsets of transport header and payload; its length */
};

enum id_rule { ID_OPEN, ID_STEP, ID_FIXED };

/* An output while it grows. */
struct run {
    struct seg lead;
    uint32_t payload, next_seq;
    uint16_t last, id;
    uint8_t push;
    enum id_rule rule;
    bool verified; /* the lead's checksums; the others' always are */
};

struct merger {
    struct wg_batch *b;
    struct wg_merge *m;
    struct run run[WG_BATCH_PACKETS];
    uint16_t next[WG_BATCH_PACKETS]; /* the packet behind this one in its output */
    uint16_t flow[FLOWS];            /* the output that a flow may still join */
};

static bool tcp_mergeable(struct seg *s, uint32_t len)
{
    const uint8_t *tcp = s->p + s->l4;
    if (s->l4 + 20 > len)
        return false;
    s->header = s->l4 + (uint32_t)(tcp[12] >> 4) * 4;
    if (s->header < s->l4 + 20 || s->header >= len)
        return false;
    return (tcp[12] & 15) == 0 && (tcp[13] & ~TCP_PSH) == TCP_ACK;
}

static bool udp_mergeable(struct seg *s, uint32_t len)
{
    s->header = s->l4 + 8;
    return s->header < len && get_be16(s->p + s->l4 + 4) == len - s->l4 && get_be16(s->p + s->l4 + 6) != 0;
}

static enum kind classify(struct seg *s, const uint8_t *p, uint32_t len, unsigned what)
{
    if (!ip_parse(p, len, &s->ip))
        return APART;
    if (s->ip.fragment)
        return BARRIER;
    if (s->ip.proto != IP_TCP && s->ip.proto != IP_UDP)
        return s->ip.version == 6 && s->ip.proto != IP_ICMPV6 ? BARRIER : APART;
    s->p = p;
    s->l4 = s->ip.header_len;
    if (s->l4 + 8 > len)
        return BARRIER;
    if (s->ip.total_len != len || len > WG_PACKET_MAX || (s->ip.version == 4 && s->l4 != 20) ||
        !(what & (s->ip.proto == IP_TCP ? MERGE_TCP : MERGE_UDP)) ||
        !(s->ip.proto == IP_TCP ? tcp_mergeable(s, len) : udp_mergeable(s, len)))
        return CLOSER;
    s->payload = len - s->header;
    return CANDIDATE;
}

static uint32_t flow_hash(const struct seg *s)
{
    uint32_t n = s->ip.version == 4 ? 8 : 32; /* addresses are contiguous */
    uint32_t h = get_be32(s->p + s->l4) + s->ip.proto;
    for (uint32_t i = 0; i < n; i += 4)
        h = (h ^ get_be32(s->ip.src + i)) * UINT32_C(0x9e3779b1);
    return (h ^ h >> 16) % FLOWS;
}

static bool same_flow(const struct seg *a, const struct seg *b)
{
    return a->ip.version == b->ip.version && a->ip.proto == b->ip.proto &&
           memcmp(a->ip.src, b->ip.src, a->ip.version == 4 ? 8 : 32) == 0 &&
           memcmp(a->p + a->l4, b->p + b->l4, 4) == 0;
}

/* Everything but lengths, IP IDs, sequence numbers, PSH and checksums. */
static bool same_form(const struct seg *a, const struct seg *b)
{
    const uint8_t *x = a->p + a->l4, *y = b->p + b->l4;
    if (a->ip.version == 4) {
        if (a->p[1] != b->p[1] || a->p[8] != b->p[8] || memcmp(a->p + 6, b->p + 6, 2) != 0)
            return false;
    } else if (memcmp(a->p, b->p, 4) != 0 || a->p[7] != b->p[7]) {
        return false;
    }
    if (a->header != b->header)
        return false;
    return a->ip.proto == IP_UDP || (memcmp(x + 8, y + 8, 5) == 0 && memcmp(x + 14, y + 14, 2) == 0 &&
                                     memcmp(x + 18, y + 18, a->header - a->l4 - 18) == 0);
}

static bool intact(const struct seg *s)
{
    uint32_t l4_len = s->header + s->payload - s->l4;
    if (s->ip.version == 4 && csum_finish(csum_add(0, s->p, s->l4)) != 0)
        return false;
    return csum_finish(csum_add(csum_pseudo(&s->ip, s->ip.proto, l4_len), s->p + s->l4, l4_len)) == 0;
}

/* inet_gro_flush of Linux 6.10: the second packet decides whether IDs go up or stay. */
static bool id_follows(const struct run *r, const struct seg *s, enum id_rule *rule)
{
    uint16_t step = (uint16_t)(get_be16(s->p + 4) - r->id);
    bool df = s->p[6] & 0x40;
    *rule = r->rule;
    if (s->ip.version == 6)
        return true;
    if (r->rule == ID_OPEN)
        *rule = step == 0 && df ? ID_FIXED : ID_STEP;
    return step == (*rule == ID_FIXED ? 0 : 1);
}

static bool join(struct run *r, const struct seg *s)
{
    enum id_rule rule;
    if (s->payload > r->lead.payload || r->lead.header + r->payload + s->payload > WG_PACKET_MAX ||
        (s->ip.proto == IP_TCP && get_be32(s->p + s->l4 + 4) != r->next_seq) ||
        !same_form(&r->lead, s) || !id_follows(r, s, &rule) || !intact(s))
        return false;
    if (!r->verified && !intact(&r->lead))
        return false;
    r->verified = true;
    r->rule = rule;
    return true;
}

/* Notes the newest packet of a run; true if the run may grow further. */
static bool advance(struct run *r, const struct seg *s, uint32_t packet)
{
    r->last = (uint16_t)packet;
    r->id = get_be16(s->p + 4);
    r->payload += s->payload;
    if (s->ip.proto == IP_TCP) {
        r->next_seq = get_be32(s->p + s->l4 + 4) + s->payload;
        r->push = s->p[s->l4 + 13] & TCP_PSH;
    }
    return !r->push && s->payload == r->lead.payload;
}

static uint16_t start(struct merger *g, uint32_t packet)
{
    g->m->out[g->m->n] = (struct wg_merged){.first = packet, .packets = 1, .len = g->b->packet[packet].len};
    return (uint16_t)g->m->n++;
}

static void place(struct merger *g, uint32_t packet, unsigned what)
{
    struct seg s;
    const struct wg_packet *k = &g->b->packet[packet];
    enum kind kind = classify(&s, g->b->bytes + k->off, k->len, what);
    g->next[packet] = NONE;
    if (kind == BARRIER)
        memset(g->flow, 0xff, sizeof g->flow);
    if (kind == APART || kind == BARRIER) {
        start(g, packet);
        return;
    }
    uint16_t *flow = &g->flow[flow_hash(&s)];
    bool known = *flow != NONE && same_flow(&g->run[*flow].lead, &s);
    if (kind == CLOSER) {
        start(g, packet);
        if (known)
            *flow = NONE;
        return;
    }
    if (known && join(&g->run[*flow], &s)) {
        struct wg_merged *o = &g->m->out[*flow];
        struct run *r = &g->run[*flow];
        g->next[r->last] = (uint16_t)packet;
        o->packets++;
        o->len += s.payload;
        if (!advance(r, &s, packet) || o->packets == WG_SEGMENTS_MAX)
            *flow = NONE;
        return;
    }
    *flow = start(g, packet);
    g->run[*flow] = (struct run){.lead = s};
    if (!advance(&g->run[*flow], &s, packet))
        *flow = NONE;
}

/* Turns the lead's headers into those of the whole output. */
static void finish(const struct run *r, struct wg_merged *o, uint8_t *p)
{
    const struct seg *s = &r->lead;
    bool tcp = s->ip.proto == IP_TCP;
    uint16_t check = tcp ? 16 : 6;
    if (s->ip.version == 4) {
        put_be16(p + 2, (uint16_t)o->len);
        ip4_set_checksum(p, s->l4);
    } else {
        put_be16(p + 4, (uint16_t)(o->len - 40));
    }
    if (tcp)
        p[s->l4 + 13] |= r->push;
    else
        put_be16(p + s->l4 + 4, (uint16_t)(o->len - s->l4));
    put_be16(p + s->l4 + check, (uint16_t)~csum_finish(csum_pseudo(&s->ip, s->ip.proto, o->len - s->l4)));
    o->vnet = (struct wg_vnet){
        .flags = VNET_NEEDS_CSUM,
        .gso_type = !tcp ? VNET_GSO_UDP_L4 : s->ip.version == 4 ? VNET_GSO_TCP4 : VNET_GSO_TCP6,
        .hdr_len = (uint16_t)s->header, .gso_size = (uint16_t)s->payload,
        .csum_start = (uint16_t)s->l4, .csum_offset = check,
    };
}

void merge(struct wg_batch *b, struct wg_merge *m, unsigned what)
{
    struct merger g;
    uint32_t used = 0;
    g.b = b;
    g.m = m;
    m->n = 0;
    memset(g.flow, 0xff, sizeof g.flow);
    for (uint32_t i = 0; i < b->n; i++)
        if (b->packet[i].live)
            place(&g, i, what);
    for (uint32_t i = 0; i < m->n; i++) {
        struct wg_merged *o = &m->out[i];
        uint8_t *p = b->bytes + b->packet[o->first].off;
        o->iov_start = used;
        m->iov[used++] = (struct iovec){&o->vnet, VNET_LEN};
        m->iov[used++] = (struct iovec){p, b->packet[o->first].len};
        if (o->packets > 1) {
            uint32_t header = g.run[i].lead.header;
            finish(&g.run[i], o, p);
            for (uint16_t k = g.next[o->first]; k != NONE; k = g.next[k])
                m->iov[used++] = (struct iovec){b->bytes + b->packet[k].off + header, b->packet[k].len - header};
        }
        o->iov_count = used - o->iov_start;
    }
}

void merge_undo(struct wg_batch *b, const struct wg_merged *o)
{
    const struct wg_packet *k = &b->packet[o->first];
    uint8_t *p = b->bytes + k->off;
    uint32_t l4 = o->vnet.csum_start, l4_len = k->len - l4;
    struct wg_ip ip;
    if (o->packets == 1 || !ip_parse(p, k->len, &ip))
        return;
    if (ip.version == 4) {
        put_be16(p + 2, (uint16_t)k->len);
        ip4_set_checksum(p, l4);
    } else {
        put_be16(p + 4, (uint16_t)(k->len - 40));
    }
    if (ip.proto == IP_TCP)
        p[l4 + 13] &= (uint8_t)~TCP_PSH; /* one with PSH leads no other */
    else
        put_be16(p + l4 + 4, (uint16_t)l4_len);
    put_be16(p + l4 + o->vnet.csum_offset, 0);
    uint16_t sum = csum_finish(csum_add(csum_pseudo(&ip, ip.proto, l4_len), p + l4, l4_len));
    put_be16(p + l4 + o->vnet.csum_offset, sum ? sum : 0xffff);
}
