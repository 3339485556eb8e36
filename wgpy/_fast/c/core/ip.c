/* Internet headers (RFC 791, 8200), checksums (RFC 1071) and ECN (RFC 6040). Owns nothing and
 * locks nothing: each call works on the packet it is given. */
#include "ip.h"

enum { WORTHWHILE = 128 /* bytes for wide vectors */ };

bool ip_parse(const uint8_t *p, uint32_t len, struct wg_ip *out)
{
    if (len < 20)
        return false;
    if (p[0] >> 4 == 4) {
        uint32_t header = (p[0] & 15u) * 4;
        uint32_t total = get_be16(p + 2);
        if (header < 20 || header > len || header > total)
            return false;
        *out = (struct wg_ip){
            .version = 4, .proto = p[9], .tos = p[1], .fragment = (get_be16(p + 6) & 0x3fff) != 0,
            .header_len = header, .total_len = total, .src = p + 12, .dst = p + 16,
        };
        return true;
    }
    if (p[0] >> 4 != 6 || len < 40)
        return false;
    *out = (struct wg_ip){
        .version = 6, .proto = p[6], .tos = (uint8_t)(get_be16(p) >> 4), .fragment = p[6] == IPV6_FRAGMENT,
        .header_len = 40, .total_len = 40u + get_be16(p + 4), .src = p + 8, .dst = p + 24,
    };
    return true;
}

/* Sums are of native-order words: one's-complement addition commutes with swapping
 * bytes (RFC 1071, 2.B). 32-bit words in a 64-bit sum need no carries for any packet,
 * and the loops below vectorise. */
static uint64_t sum_tail(uint64_t sum, const uint8_t *p, size_t n)
{
    uint32_t four;
    uint16_t two = 0;
    if (n & 4) {
        memcpy(&four, p, 4);
        sum += four;
        p += 4;
    }
    if (n & 2) {
        memcpy(&two, p, 2);
        sum += two;
        p += 2;
    }
    if (n & 1) {
        two = 0;
        memcpy(&two, p, 1);
        sum += two;
    }
    return sum;
}

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS uint64_t csum_add_any(uint64_t sum, const uint8_t *p, size_t len)
{
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        sum += (w & UINT32_MAX) + (w >> 32);
    }
    return sum_tail(sum, p + whole, len - whole);
}

ALWAYS uint64_t csum_copy_any(uint64_t sum, uint8_t *restrict dst, const uint8_t *restrict src, size_t len)
{
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t w;
        memcpy(&w, src + i, 8);
        memcpy(dst + i, &w, 8);
        sum += (w & UINT32_MAX) + (w >> 32);
    }
    memcpy(dst + whole, src + whole, len - whole);
    return sum_tail(sum, src + whole, len - whole);
}

/* The same, vectorised for what this CPU and its system have. */
#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t csum_add_avx2(uint64_t sum, const uint8_t *p, size_t len)
{
    return csum_add_any(sum, p, len);
}
__attribute__((target("avx2"))) static uint64_t csum_copy_avx2(uint64_t sum, uint8_t *restrict dst,
                                                               const uint8_t *restrict src, size_t len)
{
    return csum_copy_any(sum, dst, src, len);
}
#define HERE(len, what, ...) \
    ((len) >= WORTHWHILE && __builtin_cpu_supports("avx2") ? csum_##what##_avx2(__VA_ARGS__) \
                                                          : csum_##what##_any(__VA_ARGS__))
#else
#define HERE(len, what, ...) csum_##what##_any(__VA_ARGS__)
#endif

uint64_t csum_add(uint64_t sum, const uint8_t *p, size_t len) { return HERE(len, add, sum, p, len); }

uint64_t csum_copy(uint64_t sum, uint8_t *restrict dst, const uint8_t *restrict src, size_t len)
{
    return HERE(len, copy, sum, dst, src, len);
}

uint16_t csum_finish(uint64_t sum)
{
    uint8_t b[2];
    uint16_t word;
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    word = (uint16_t)~sum;
    memcpy(b, &word, 2);
    return get_be16(b);
}

uint64_t csum_pseudo(const struct wg_ip *ip, uint8_t proto, uint32_t l4_len)
{
    size_t n = ip->version == 4 ? 4 : 16;
    uint64_t sum = csum_add(csum_add(0, ip->src, n), ip->dst, n);
    return csum_be16(csum_be16(csum_be16(sum, proto), (uint16_t)(l4_len >> 16)), (uint16_t)l4_len);
}

void ip4_set_checksum(uint8_t *header, uint32_t header_len)
{
    put_be16(header + 10, 0);
    put_be16(header + 10, csum_finish(csum_add(0, header, header_len)));
}

/* RFC 6040, figure 4: rows inner, columns outer, codepoints in numeric order
 * (Not-ECT, ECT(1), ECT(0), CE). */
enum { NOT_ECT, ECT1, ECT0, CE, ECN_LOST = 4 };
static const uint8_t ecn_inner_outer[4][4] = {
    [NOT_ECT] = {NOT_ECT, NOT_ECT, NOT_ECT, ECN_LOST},
    [ECT1] = {ECT1, ECT1, ECT1, CE},
    [ECT0] = {ECT0, ECT1, ECT0, CE},
    [CE] = {CE, CE, CE, CE},
};

bool ecn_decapsulate(uint8_t *packet, uint8_t outer_tos)
{
    bool v4 = packet[0] >> 4 == 4;
    uint8_t inner = v4 ? packet[1] & 3 : (packet[1] >> 4) & 3;
    uint8_t ecn = ecn_inner_outer[inner][outer_tos & 3];
    if (ecn == inner)
        return true;
    if (ecn == ECN_LOST)
        return false;
    if (v4) {
        /* RFC 1624, equation 3 */
        uint64_t sum = csum_be16(0, (uint16_t)~get_be16(packet + 10));
        sum = csum_be16(sum, (uint16_t)~get_be16(packet));
        packet[1] = (uint8_t)((packet[1] & ~3) | ecn);
        put_be16(packet + 10, csum_finish(csum_be16(sum, get_be16(packet))));
    } else {
        packet[1] = (uint8_t)((packet[1] & ~0x30) | (ecn << 4));
    }
    return true;
}
