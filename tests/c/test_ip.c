#include "core/ip.h"
#include "packets.h"

static void checksums(void)
{
    static const uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CHECK(csum_finish(csum_add(0, rfc1071, 8)) == (uint16_t)~0xddf2);
    for (uint32_t round = 0; round < 3000; round++) {
        uint32_t len = round < 200 ? round : rnd(4000), shift = rnd(9);
        uint8_t *src = malloc(len + shift), *dst = malloc(len ? len : 1);
        for (uint32_t i = 0; i < len + shift; i++)
            src[i] = round % 7 ? (uint8_t)rnd(256) : 0xff;
        uint16_t want = (uint16_t)~naive_sum(0, src + shift, len);
        CHECK(csum_finish(csum_add(0, src + shift, len)) == want);
        CHECK(csum_finish(csum_copy(0, dst, src + shift, len)) == want);
        CHECK(memcmp(dst, src + shift, len) == 0);
        uint32_t cut = rnd(len + 1) & ~1u;
        CHECK(csum_finish(csum_add(csum_add(0, src + shift, cut), src + shift + cut, len - cut)) == want);
        free(src);
        free(dst);
    }
    CHECK(csum_finish(csum_be16(csum_be16(0, 0x1234), (uint16_t)~0x1234)) == 0);
}

static void largest_sum(void)
{
    uint8_t *p = malloc(65535);
    memset(p, 0xff, 65535);
    CHECK(csum_finish(csum_add(0, p, 65535)) == (uint16_t)~naive_sum(0, p, 65535));
    free(p);
}

static void parsing(void)
{
    uint8_t p[2048];
    struct wg_ip ip;
    struct spec s = TCP4(.payload = 100, .tos = 0x2e);
    uint32_t len = build(p, &s);
    CHECK(ip_parse(p, len, &ip) && ip.version == 4 && ip.proto == 6 && ip.tos == 0x2e && !ip.fragment);
    CHECK(ip.header_len == 20 && ip.total_len == len && ip.src == p + 12 && ip.dst == p + 16);
    CHECK(ip_parse(p, 20, &ip) && !ip_parse(p, 19, &ip) && !ip_parse(p, 0, &ip));
    p[0] = 0x46;
    CHECK(ip_parse(p, 24, &ip) && ip.header_len == 24 && !ip_parse(p, 23, &ip));
    p[0] = 0x44;
    CHECK(!ip_parse(p, len, &ip));
    p[0] = 0x45;
    put_be16(p + 2, 19);
    CHECK(!ip_parse(p, len, &ip));
    put_be16(p + 2, 20);
    CHECK(ip_parse(p, len, &ip) && ip.total_len == 20);
    static const struct { uint16_t field; bool fragment; } f[] = {
        {0x0000, false}, {0x4000, false}, {0x8000, false}, {0x2000, true}, {0x0001, true}, {0x1fff, true},
    };
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        put_be16(p + 6, f[i].field);
        CHECK(ip_parse(p, len, &ip) && ip.fragment == f[i].fragment);
    }
    s = UDP6(.payload = 9, .tos = 0xb9);
    len = build(p, &s);
    CHECK(ip_parse(p, len, &ip) && ip.version == 6 && ip.proto == 17 && ip.tos == 0xb9 && ip.header_len == 40);
    CHECK(ip.total_len == 57 && ip.src == p + 8 && ip.dst == p + 24 && !ip_parse(p, 39, &ip));
    p[6] = 44;
    CHECK(ip_parse(p, len, &ip) && ip.fragment);
    for (uint8_t v = 0; v < 16; v++) {
        p[0] = (uint8_t)(v << 4 | 5);
        CHECK(ip_parse(p, len, &ip) == (v == 4 || v == 6) || v == 4);
    }
}

/* RFC 6040, figure 4, retyped: rows inner, columns outer: 0 Not-ECT, 1 ECT(1), 2 ECT(0),
 * 3 CE; -1 lost. The figure's columns are Not-ECT, ECT(0), ECT(1), CE. */
static void ecn(void)
{
    static const int want[4][4] = {{0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    uint8_t p[256];
    for (uint8_t inner = 0; inner < 4; inner++)
        for (uint8_t outer = 0; outer < 4; outer++)
            for (int v6 = 0; v6 < 2; v6++) {
                struct spec s = v6 ? UDP6(.tos = (uint8_t)(0xb8 | inner)) : UDP4(.tos = (uint8_t)(0xb8 | inner));
                build(p, &s);
                bool ok = ecn_decapsulate(p, (uint8_t)(0x48 | outer));
                CHECK(ok == (want[inner][outer] >= 0));
                uint8_t tos = v6 ? (uint8_t)(p[0] << 4 | p[1] >> 4) : p[1];
                CHECK(tos == (0xb8 | (ok ? want[inner][outer] : inner)));
                CHECK(v6 ? (get_be32(p) & 0xf00fffff) == 0x60000000 : naive_ip4_ok(p));
                CHECK(ecn_outer(tos) == (tos & 3));
            }
}

int main(void)
{
    checksums();
    largest_sum();
    parsing();
    ecn();
    return 0;
}
