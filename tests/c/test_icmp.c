#include "plane/icmp.h"
#include "packets.h"

static uint8_t in[4000], out[1280];

static uint32_t answer(uint32_t len) { return icmp_unreachable(out, sizeof out, in, len, NULL); }

static void shape4(void)
{
    static const uint32_t payload[] = {0, 1, 100, 519, 520, 521, 1372};
    for (size_t i = 0; i < sizeof payload / sizeof *payload; i++) {
        struct spec s = UDP4(.payload = (uint16_t)payload[i]);
        uint32_t len = build(in, &s), want = 28 + len < 576 ? 28 + len : 576;
        CHECK(answer(len) == want && out[0] == 0x45 && get_be16(out + 2) == want && naive_ip4_ok(out));
        CHECK(out[9] == 1 && out[20] == 3 && out[21] == 1 && get_be32(out + 24) == 0);
        CHECK(naive_sum(0, out + 20, want - 20) == 0xffff);
        CHECK(memcmp(out + 12, in + 16, 4) == 0 && memcmp(out + 16, in + 12, 4) == 0);
        CHECK(memcmp(out + 28, in, want - 28) == 0);
        CHECK(icmp_unreachable(out, want - 1, in, len, NULL) == 0);
        CHECK(icmp_unreachable(out, want, in, len, (const uint8_t *)"\x0a\x09\x08\x07") == want);
        CHECK(get_be32(out + 12) == 0x0a090807 && naive_ip4_ok(out));
    }
}

static void shape6(void)
{
    static const uint32_t payload[] = {0, 1, 1183, 1184, 1185, 1372};
    for (size_t i = 0; i < sizeof payload / sizeof *payload; i++) {
        struct spec s = UDP6(.payload = (uint16_t)payload[i]);
        uint32_t len = build(in, &s), want = 48 + len < 1280 ? 48 + len : 1280;
        CHECK(answer(len) == want && out[0] == 0x60 && get_be16(out + 4) == want - 40);
        CHECK(out[6] == 58 && out[40] == 1 && out[41] == 3 && get_be32(out + 44) == 0);
        CHECK(naive_l4_ok(out, want, 40, ICMPV6) && memcmp(out + 48, in, want - 48) == 0);
        CHECK(memcmp(out + 8, in + 24, 16) == 0 && memcmp(out + 24, in + 8, 16) == 0);
    }
}

/* RFC 1122, 3.2.2 */
static void silence4(void)
{
    static const struct { uint32_t src, dst; bool answered; } pair[] = {
        {0x0a000001, 0xc0a80001, true}, {0x00000000, 0x0a000002, false}, {0x7f000001, 0x0a000002, false},
        {0xe0000001, 0x0a000002, false}, {0xffffffff, 0x0a000002, false}, {0xf0000001, 0x0a000002, false},
        {0x0a000001, 0xe00000fb, false}, {0x0a000001, 0x7f000001, false}, {0x0a000001, 0x00000000, false},
        {0x0a000001, 0xffffffff, false}, {0xdfffffff, 0x0a000002, true},
    };
    struct spec s = UDP4(.payload = 64);
    uint32_t len = build(in, &s);
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        put_be32(in + 12, pair[i].src);
        put_be32(in + 16, pair[i].dst);
        CHECK((answer(len) != 0) == pair[i].answered);
    }
    build(in, &s);
    put_be16(in + 6, 0x2000);
    CHECK(answer(len));
    put_be16(in + 6, 0x2001);
    CHECK(!answer(len));
    put_be16(in + 6, 0x0001);
    CHECK(!answer(len));
    build(in, &s);
    in[9] = ICMP;
    for (int type = 0; type < 256; type++) {
        in[20] = (uint8_t)type;
        bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
        CHECK((answer(len) == 0) == error);
    }
    put_be16(in + 2, 20);
    CHECK(!answer(20)); /* ICMP of unknown type */
    build(in, &s);
    CHECK(!answer(len - 1) && !answer(19) && !answer(0));
}

/* RFC 4443, 2.4 (e) */
static void silence6(void)
{
    struct spec s = UDP6(.payload = 64);
    uint32_t len = build(in, &s);
    in[24] = 0xff;
    CHECK(!answer(len));
    build(in, &s);
    in[8] = 0xff;
    CHECK(!answer(len));
    build(in, &s);
    memset(in + 8, 0, 16);
    CHECK(!answer(len));
    in[23] = 1;
    CHECK(!answer(len));
    in[23] = 2;
    CHECK(answer(len));

    static const uint8_t before[] = {0, 43, 60, 51}; /* in front of ICMPv6 */
    for (int type = 0; type < 256; type++)
        for (int ext = -1; ext < 4; ext++) {
            build(in, &s);
            in[6] = ext < 0 ? 58 : before[ext];
            in[ext < 0 ? 40 : 48] = (uint8_t)type;
            if (ext >= 0) {
                in[40] = 58;
                in[41] = 0;
            }
            CHECK((answer(len) != 0) == (type >= 128 && type != 137));
        }
    static const struct { uint16_t offset; bool answered; } f[] = {{0, true}, {1, true}, {8, false}, {9, false}};
    for (int i = 0; i < 4; i++) {
        build(in, &s);
        in[6] = 44;
        in[40] = 17;
        put_be16(in + 42, f[i].offset);
        CHECK((answer(len) != 0) == f[i].answered);
    }
    build(in, &s);
    in[6] = 0; /* a chain that leaves the packet */
    in[40] = 0;
    in[41] = 255;
    CHECK(!answer(len));
}

static void rate(void)
{
    struct icmp_bucket k = {0};
    uint64_t now = 5000 * WG_SECOND;
    uint32_t passed = 0;
    for (int i = 0; i < 1000; i++)
        passed += icmp_allow(&k, now);
    CHECK(passed == 50);
    for (int i = 0; i < 100000; i++) {
        now += 10000; /* 10 us: one second in all */
        passed += icmp_allow(&k, now);
    }
    CHECK(passed == 1050);
    CHECK(!icmp_allow(&k, 0) && !icmp_allow(&k, 1000)); /* a clock that steps back gives nothing */
    CHECK(icmp_allow(&k, UINT64_MAX));
}

int main(void)
{
    shape4();
    shape6();
    silence4();
    silence6();
    rate();
    return 0;
}
