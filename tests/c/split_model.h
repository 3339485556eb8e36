/* What split may do with any input at all, checked against the input. */
#ifndef SPLIT_MODEL_H
#define SPLIT_MODEL_H

#include "ports/offload.h"
#include "packets.h"

/* Packets lie inside the batch, in order, apart, with head- and tailroom. */
static inline void check_layout(const struct wg_batch *b)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct wg_packet *k = &b->packet[i];
        CHECK(k->live && k->off >= end + WG_HEADROOM && k->off % 16 == 0);
        end = k->off + k->len + WG_TAILROOM;
        CHECK(end <= WG_BATCH_BYTES && end <= b->used + 16);
    }
    CHECK(b->n <= WG_BATCH_PACKETS && b->used <= WG_BATCH_BYTES);
}

struct split_seen {
    uint32_t packets, payload, l4, header; /* header: of the first segment, so of all */
    uint8_t proto;
    bool checksums; /* the pseudo-header sum in the input was right, so all must verify */
};

static inline void check_whole(const struct wg_split *s, const uint8_t *p, uint32_t len)
{
    bool v4 = s->packet[0] >> 4 == 4;
    CHECK(len == (v4 ? get_be16(s->packet + 2) : 40u + get_be16(s->packet + 4)) && len <= s->len);
    uint32_t start = s->h.csum_start, check = start + s->h.csum_offset;
    if (!(s->h.flags & VNET_NEEDS_CSUM)) {
        CHECK(memcmp(p, s->packet, len) == 0);
        return;
    }
    uint16_t want = (uint16_t)~naive_sum(0, s->packet + start, len - start);
    CHECK(get_be16(p + check) == (want ? want : 0xffff));
    CHECK(memcmp(p, s->packet, check) == 0);
    CHECK(memcmp(p + check + 2, s->packet + check + 2, len - check - 2) == 0);
}

static inline void check_segment(const struct wg_split *s, struct split_seen *seen, const uint8_t *p, uint32_t len)
{
    bool v4 = p[0] >> 4 == 4, tcp = (s->h.gso_type & 0x7f) != VNET_GSO_UDP_L4;
    uint32_t l4 = s->h.csum_start, header = l4 + (tcp ? (uint32_t)(s->packet[l4 + 12] >> 4) * 4 : 8);
    uint32_t size = len - header, index = seen->packets, was = seen->payload;
    bool last = header + was + size == s->len;
    CHECK(len > header && (last ? size <= s->h.gso_size : size == s->h.gso_size));
    CHECK(memcmp(p + header, s->packet + header + was, size) == 0);
    if (v4) {
        CHECK(get_be16(p + 2) == len && naive_ip4_ok(p));
        CHECK(get_be16(p + 4) == (uint16_t)(get_be16(s->packet + 4) + index));
        CHECK(memcmp(p + 12, s->packet + 12, l4 - 12) == 0);
    } else {
        CHECK(get_be16(p + 4) == len - 40 && memcmp(p + 6, s->packet + 6, l4 - 6) == 0);
    }
    if (tcp) {
        uint8_t f = s->packet[l4 + 13];
        f &= (uint8_t)~((last ? 0 : FIN | PSH) | (index ? CWR : 0));
        CHECK(p[l4 + 13] == f && get_be32(p + l4 + 4) == get_be32(s->packet + l4 + 4) + was);
        CHECK(memcmp(p + l4 + 18, s->packet + l4 + 18, header - l4 - 18) == 0);
    } else {
        CHECK(get_be16(p + l4 + 4) == len - l4);
    }
    CHECK(!seen->checksums || naive_l4_ok(p, len, l4, tcp ? TCP : UDP));
    CHECK(get_be16(p + s->h.csum_start + s->h.csum_offset) != 0);
    seen->packets++;
    seen->payload += size;
}

/* Runs split to its end. Invariant: it ends; every call but the last places something;
 * either nothing is placed and one drop is counted, or all payload comes out once. */
static inline struct split_seen check_split(struct wg_split *s, struct wg_batch *b, bool checksums)
{
    struct split_seen seen = {.checksums = checksums};
    uint64_t dropped = 0;
    bool done;
    for (int i = 0; i < WG_DROP_COUNT; i++)
        b->drops[i] = 0;
    do {
        batch_reset(b);
        done = split(s, b);
        check_layout(b);
        CHECK(done || b->n);
        for (uint32_t i = 0; i < b->n; i++) {
            if (s->h.gso_type == VNET_GSO_NONE) {
                check_whole(s, bytes_of(b, i), b->packet[i].len);
                seen.packets++;
            } else {
                check_segment(s, &seen, bytes_of(b, i), b->packet[i].len);
            }
        }
    } while (!done);
    for (int i = 0; i < WG_DROP_COUNT; i++)
        dropped += b->drops[i];
    CHECK(dropped == b->drops[WG_DROP_malformed_ip] + b->drops[WG_DROP_malformed_offload]);
    CHECK(dropped == (seen.packets ? 0 : 1));
    return seen;
}

/* Puts the pseudo-header sum where virtio wants it. */
static inline void seed_checksum(uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
    put_be16(p + l4 + (proto == TCP ? 16 : 6), (uint16_t)naive_pseudo(p, proto, len - l4));
}

#endif
