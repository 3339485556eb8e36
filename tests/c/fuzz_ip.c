/* Invariant, for any bytes at all:
 * - ip_parse reads nothing behind `len`, and what it accepts lies within `len`;
 * - csum_add and csum_copy equal the sum of RFC 1071 computed byte by byte;
 * - ecn_decapsulate changes nothing but the two ECN bits and the IPv4 checksum, which
 *   is right afterwards if it was before;
 * - icmp_unreachable writes a packet with right lengths and checksums that quotes the
 *   input, or nothing, and never answers its own answer. */
#include "fuzz.h"
#include "plane/icmp.h"
#include "core/ip.h"
#include "packets.h"

static void sums(const uint8_t *p, uint32_t len)
{
    uint16_t want = (uint16_t)~naive_sum(0, p, len);
    uint8_t *copy = malloc(len ? len : 1);
    CHECK(csum_finish(csum_add(0, p, len)) == want);
    CHECK(csum_finish(csum_copy(0, copy, p, len)) == want && memcmp(copy, p, len) == 0);
    free(copy);
}

static void ecn(const uint8_t *p, uint32_t len, uint8_t outer)
{
    uint8_t *q = malloc(len);
    memcpy(q, p, len);
    bool v4 = p[0] >> 4 == 4;
    bool right = v4 && naive_ip4_ok(p);
    ecn_decapsulate(q, outer);
    if (v4) {
        CHECK(!right || naive_ip4_ok(q));
        CHECK((q[1] ^ p[1]) < 4);
        q[1] = p[1];
        memcpy(q + 10, p + 10, 2);
    } else {
        CHECK(((q[1] ^ p[1]) & 0xcf) == 0);
        q[1] = p[1];
    }
    CHECK(memcmp(q, p, len) == 0);
    free(q);
}

static void unreachable(const uint8_t *p, uint32_t len, uint32_t cap)
{
    uint8_t *out = malloc(cap ? cap : 1), again[1280];
    uint32_t n = icmp_unreachable(out, cap, p, len, NULL);
    CHECK(n <= cap && n <= 1280);
    if (n) {
        bool v4 = p[0] >> 4 == 4;
        uint32_t header = v4 ? 28 : 48;
        CHECK(out[0] >> 4 == p[0] >> 4 && n >= header && n <= header + len && (!v4 || n <= 576));
        CHECK(v4 ? get_be16(out + 2) == n && naive_ip4_ok(out) && naive_sum(0, out + 20, n - 20) == 0xffff
                 : get_be16(out + 4) == n - 40 && naive_l4_ok(out, n, 40, ICMPV6));
        CHECK(memcmp(out + header, p, n - header) == 0);
        CHECK(icmp_unreachable(again, sizeof again, out, n, NULL) == 0);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t outer = take(&in);
    uint32_t cap = take(&in) * 6u, len = (uint32_t)in.left;
    uint8_t *p = malloc(len ? len : 1); /* exact: one byte further is a report */
    struct wg_ip ip;
    take_bytes(&in, p, len);
    sums(p, len);
    if (ip_parse(p, len, &ip)) {
        uint32_t a = ip.version == 4 ? 4 : 16;
        CHECK(ip.version == p[0] >> 4 && ip.header_len >= 20 && ip.header_len <= len && ip.header_len <= ip.total_len);
        CHECK(ip.src >= p && ip.src + a == ip.dst && ip.dst + a <= p + ip.header_len);
        ecn(p, len, outer);
    }
    unreachable(p, len, cap);
    free(p);
    return 0;
}
