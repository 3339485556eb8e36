/* Packets for tests, with checksums computed the slow way of RFC 1071: nothing here
 * uses the code under test. */
#ifndef PACKETS_H
#define PACKETS_H

#include "core/batch.h"
#include "check.h"

enum { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

static inline uint32_t naive_sum(uint32_t sum, const uint8_t *p, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        sum += (uint32_t)(i % 2 ? p[i] : p[i] << 8);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Pseudo-header of RFC 9293 and RFC 8200, from the addresses in the IP header. */
static inline uint32_t naive_pseudo(const uint8_t *ip, uint8_t proto, uint32_t len)
{
    bool v4 = ip[0] >> 4 == 4;
    uint8_t tail[8] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, proto};
    return naive_sum(naive_sum(0, ip + (v4 ? 12 : 8), v4 ? 8 : 32), tail, 8);
}

static inline bool naive_l4_ok(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
    return naive_sum(naive_pseudo(p, proto, len - l4), p + l4, len - l4) == 0xffff;
}

static inline bool naive_ip4_ok(const uint8_t *p) { return naive_sum(0, p, (p[0] & 15u) * 4) == 0xffff; }

static inline void fix_ip4(uint8_t *p)
{
    put_be16(p + 10, 0);
    put_be16(p + 10, (uint16_t)~naive_sum(0, p, (p[0] & 15u) * 4));
}

static inline void fix_l4(uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
    uint8_t *c = p + l4 + (proto == TCP ? 16 : 6);
    put_be16(c, 0);
    uint16_t v = (uint16_t)~naive_sum(naive_pseudo(p, proto, len - l4), p + l4, len - l4);
    put_be16(c, v ? v : 0xffff);
}

struct spec {
    uint8_t version, proto, flow, flags, ttl, tos, options; /* options: 32-bit words of TCP options */
    uint16_t id, fragment, window, payload;
    uint32_t seq, ack;
};
#define TCP4(...) ((struct spec){.version = 4, .proto = TCP, .flags = ACK, .ttl = 64, .fragment = 0x4000, \
                                  .window = 512, .options = 3, __VA_ARGS__})
#define TCP6(...) ((struct spec){.version = 6, .proto = TCP, .flags = ACK, .ttl = 64, .window = 512, .options = 3, __VA_ARGS__})
#define UDP4(...) ((struct spec){.version = 4, .proto = UDP, .ttl = 64, .fragment = 0x4000, __VA_ARGS__})
#define UDP6(...) ((struct spec){.version = 6, .proto = UDP, .ttl = 64, __VA_ARGS__})

static inline uint32_t spec_l4(const struct spec *s) { return s->version == 4 ? 20 : 40; }
static inline uint32_t spec_header(const struct spec *s)
{
    return spec_l4(s) + (s->proto == TCP ? 20u + s->options * 4u : 8u);
}
static inline uint32_t spec_len(const struct spec *s) { return spec_header(s) + s->payload; }

/* Payload byte i depends on its place in the stream, so that bytes out of order show. */
static inline uint8_t stream_byte(uint32_t at) { return (uint8_t)((at * UINT32_C(2654435761)) >> 24); }

static inline uint32_t build(uint8_t *p, const struct spec *s)
{
    uint32_t l4 = spec_l4(s), header = spec_header(s), len = spec_len(s);
    memset(p, 0, header);
    if (s->version == 4) {
        p[0] = 0x45;
        p[1] = s->tos;
        put_be16(p + 2, (uint16_t)len);
        put_be16(p + 4, s->id);
        put_be16(p + 6, s->fragment);
        p[8] = s->ttl;
        p[9] = s->proto;
        put_be32(p + 12, 0x0a000001);
        put_be32(p + 16, 0x0a000100u + s->flow);
        fix_ip4(p);
    } else {
        put_be32(p, 0x60000000u | (uint32_t)s->tos << 20);
        put_be16(p + 4, (uint16_t)(len - 40));
        p[6] = s->proto;
        p[7] = s->ttl;
        p[8] = p[24] = 0xfd;
        p[23] = 1;
        p[39] = s->flow;
    }
    put_be16(p + l4, 40000);
    put_be16(p + l4 + 2, (uint16_t)(5000 + s->flow));
    if (s->proto == TCP) {
        put_be32(p + l4 + 4, s->seq);
        put_be32(p + l4 + 8, s->ack);
        p[l4 + 12] = (uint8_t)((5 + s->options) << 4);
        p[l4 + 13] = s->flags;
        put_be16(p + l4 + 14, s->window);
        memset(p + l4 + 20, 1, s->options * 4u);
    } else {
        put_be16(p + l4 + 4, (uint16_t)(len - l4));
    }
    for (uint32_t i = 0; i < s->payload; i++)
        p[header + i] = stream_byte(s->seq + i);
    fix_l4(p, len, l4, s->proto);
    return len;
}

static inline struct wg_batch *batch_make(void)
{
    struct wg_batch *b = calloc(1, sizeof *b);
    CHECK(b && !posix_memalign((void **)&b->bytes, 64, WG_BATCH_BYTES));
    memset(b->bytes, 0xa5, WG_BATCH_BYTES);
    return b;
}
static inline void batch_destroy(struct wg_batch *b)
{
    free(b->bytes);
    free(b);
}
static inline uint8_t *bytes_of(struct wg_batch *b, uint32_t i) { return b->bytes + b->packet[i].off; }

static inline uint8_t *add(struct wg_batch *b, struct spec s)
{
    CHECK(batch_has_room(b, 1, spec_len(&s)));
    uint8_t *p = b->bytes + batch_append(b, spec_len(&s))->off;
    build(p, &s);
    return p;
}

#endif
