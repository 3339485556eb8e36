#include "merge_model.h"

static struct wg_batch *b;
enum { ALL = MERGE_TCP | MERGE_UDP };

static void reset(void)
{
    batch_reset(b);
    memset(b->bytes, 0xa5, WG_BATCH_BYTES);
}

/* `n` packets of a bulk stream, of `size` bytes each, by one spec. */
static void stream(struct spec s, uint32_t n, uint16_t size)
{
    for (uint32_t i = 0; i < n; i++) {
        s.payload = size;
        add(b, s);
        s.seq += size;
        s.id++;
    }
}

static void bulk(void)
{
    struct spec kind[] = {TCP4(.seq = 0xfffff000, .id = 65530), TCP6(.options = 0), UDP4(.id = 3), UDP6()};
    for (int k = 0; k < 4; k++) {
        reset();
        stream(kind[k], 40, 1360);
        CHECK(check_merge(b, ALL, true) == 1);
        reset();
        stream(kind[k], 130, 64);
        CHECK(check_merge(b, ALL, true) == 3); /* 64 segments at most */
        reset();
        stream(kind[k], 10, 9000);
        CHECK(check_merge(b, ALL, true) == 2); /* 65535 bytes at most */
        reset();
        stream(kind[k], 5, 1000);
        CHECK(check_merge(b, kind[k].proto == TCP ? MERGE_UDP : MERGE_TCP, true) == 5);
        CHECK(check_merge(b, 0, true) == 5);
    }
}

static void two_flows_interleaved(void)
{
    reset();
    for (uint32_t i = 0; i < 20; i++) {
        add(b, TCP4(.flow = 1, .seq = i * 100, .payload = 100, .id = (uint16_t)i));
        add(b, UDP6(.flow = 2, .payload = 50));
    }
    CHECK(check_merge(b, ALL, true) == 2);
}

/* Three packets of which the middle one differs: how many outputs? */
#define MIDDLE(want, kind, ...) \
    do { \
        reset(); \
        add(b, kind(.seq = 0, .id = 1, .payload = 100, .ack = 9)); \
        add(b, kind(.seq = 100, .id = 2, .payload = 100, .ack = 9, __VA_ARGS__)); \
        add(b, kind(.seq = 200, .id = 3, .payload = 100, .ack = 9)); \
        CHECK(check_merge(b, ALL, true) == (want)); \
    } while (0)

static void what_separates(void)
{
    MIDDLE(1, TCP4, .tos = 0);
    MIDDLE(3, TCP4, .tos = 1);
    MIDDLE(3, TCP4, .ttl = 63);
    MIDDLE(3, TCP4, .fragment = 0);
    MIDDLE(3, TCP4, .ack = 10);
    MIDDLE(3, TCP4, .window = 513);
    MIDDLE(3, TCP4, .options = 4);
    MIDDLE(3, TCP4, .seq = 101);
    MIDDLE(3, TCP4, .id = 4);
    MIDDLE(3, TCP4, .flow = 1, .seq = 0);
    MIDDLE(2, TCP4, .flags = ACK | PSH);
    MIDDLE(2, TCP4, .payload = 99, .seq = 100);
    MIDDLE(3, TCP4, .payload = 101);
    MIDDLE(3, TCP4, .payload = 0);
    MIDDLE(3, TCP6, .tos = 1);
    MIDDLE(3, TCP6, .ttl = 63);
    MIDDLE(3, UDP4, .tos = 1);
    MIDDLE(3, UDP6, .ttl = 1);
    MIDDLE(2, UDP4, .payload = 99);
    MIDDLE(2, UDP6, .payload = 101 - 2);
    MIDDLE(2, UDP4, .payload = 101); /* the third is a shorter last one of the second */
    MIDDLE(3, UDP6, .payload = 0);
    static const uint8_t alone[] = {FIN | ACK, SYN | ACK, RST | ACK, URG | ACK, ECE | ACK, CWR | ACK, 0, PSH};
    for (size_t i = 0; i < sizeof alone; i++)
        MIDDLE(3, TCP4, .flags = alone[i]);
}

static void identification(void)
{
    reset();
    for (uint32_t i = 0; i < 6; i++) /* DF set, ID fixed */
        add(b, TCP4(.seq = i * 10, .payload = 10, .id = 77));
    CHECK(check_merge(b, ALL, true) == 1);
    reset();
    for (uint32_t i = 0; i < 6; i++) /* DF clear: must count up */
        add(b, TCP4(.seq = i * 10, .payload = 10, .id = 77, .fragment = 0));
    CHECK(check_merge(b, ALL, true) == 6);
    reset();
    stream(TCP4(.fragment = 0), 6, 10);
    CHECK(check_merge(b, ALL, true) == 1);
    reset();
    static const uint16_t mixed[] = {1, 2, 2, 2, 3}; /* 1,2 | 2,2 | 3 */
    for (uint32_t i = 0; i < 5; i++)
        add(b, TCP4(.seq = i * 10, .payload = 10, .id = mixed[i]));
    CHECK(check_merge(b, ALL, true) == 3);
}

/* A checksum that is wrong must reach the receiver wrong. */
static void corruption(void)
{
    for (uint32_t bad = 0; bad < 3; bad++)
        for (uint32_t at = 0; at < 72; at++) {
            reset();
            stream(TCP4(), 3, 100);
            bytes_of(b, bad)[at] ^= 0x10;
            CHECK(check_merge(b, ALL, true) >= 2);
            reset();
            stream(UDP6(), 3, 100);
            bytes_of(b, bad)[at] ^= 0x10;
            CHECK(check_merge(b, ALL, false) >= 2);
        }
    reset();
    stream(UDP4(), 3, 100);
    for (uint32_t i = 0; i < 3; i++)
        put_be16(bytes_of(b, i) + 26, 0); /* "no checksum" */
    CHECK(check_merge(b, ALL, true) == 3);
    /* ... even where the sum happens to be right without one */
    reset();
    stream(UDP4(), 3, 100);
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t *p = bytes_of(b, i);
        put_be16(p + 28, 0);
        put_be16(p + 26, 0);
        put_be16(p + 28, (uint16_t)~naive_sum(naive_pseudo(p, UDP, 108), p + 20, 108));
        CHECK(naive_l4_ok(p, 128, 20, UDP));
    }
    CHECK(check_merge(b, ALL, true) == 3);
}

/* What specs cannot say: reserved bits, TCP and IP option contents, cut headers. */
static void odd_headers(void)
{
    reset();
    stream(TCP4(), 3, 100);
    for (uint32_t i = 0; i < 3; i++) {
        bytes_of(b, i)[32] |= 1;
        fix_l4(bytes_of(b, i), b->packet[i].len, 20, TCP);
    }
    CHECK(check_merge(b, ALL, true) == 3);
    reset();
    stream(TCP4(), 3, 100);
    bytes_of(b, 1)[51] = 0;
    fix_l4(bytes_of(b, 1), b->packet[1].len, 20, TCP);
    CHECK(check_merge(b, ALL, true) == 3);
    reset();
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t *p = add(b, UDP4(.payload = 104, .id = (uint16_t)i)); /* header_len 24, 100 bytes of payload */
        memmove(p + 24, p + 20, 108);
        memset(p + 20, 1, 4);
        p[0] = 0x46;
        put_be16(p + 28, 108);
        fix_ip4(p);
        fix_l4(p, 132, 24, UDP);
    }
    CHECK(check_merge(b, ALL, true) == 3);
    reset();
    stream(TCP4(), 1, 100);
    uint8_t *p = add(b, TCP4(.options = 0));
    b->packet[1].len = 23;
    p[23] ^= 1; /* behind the packet: no port */
    put_be16(p + 2, 23);
    fix_ip4(p);
    add(b, TCP4(.seq = 100, .id = 1, .payload = 100));
    CHECK(check_merge(b, ALL, true) == 3);
}

/* Packets whose flow cannot be told must not be overtaken. */
static void barriers(void)
{
    static const struct { int version; uint32_t field; uint8_t value; uint32_t want; } c[] = {
        {4, 6, 0x20, 3}, {4, 7, 0x01, 3}, {4, 9, ICMP, 2}, {4, 9, 50, 2},
        {6, 6, 44, 3}, {6, 6, 0, 3}, {6, 6, 43, 3}, {6, 6, 60, 3}, {6, 6, 50, 3}, {6, 6, ICMPV6, 2},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        reset();
        struct spec s = c[i].version == 4 ? TCP4(.id = 1) : TCP6();
        stream(s, 1, 100);
        uint8_t *p = add(b, s);
        p[c[i].field] = c[i].value;
        if (c[i].version == 4)
            fix_ip4(p);
        s.seq = 100;
        s.id = 2;
        stream(s, 1, 100);
        CHECK(check_merge(b, ALL, true) == c[i].want);
    }
}

static void garbage(void)
{
    reset();
    stream(TCP4(), 2, 100);
    b->packet[batch_append(b, 0) - b->packet].len = 0;
    memset(b->bytes + batch_append(b, 19)->off, 0x45, 19);
    memset(b->bytes + batch_append(b, 60)->off, 0x60, 60);
    b->packet[0].live = 0;
    CHECK(check_merge(b, ALL, true) == 4);
    reset();
    CHECK(check_merge(b, ALL, true) == 0);
}

/* Random mixtures of four flows with all the faults above, against the model. */
static void mixtures(void)
{
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t seq[4] = {0}, n = 1 + rnd(80), chaos = 1 + rnd(20);
        uint16_t id[4] = {0};
        bool flipped = false; /* may make a flow that shares another's slot */
        reset();
        for (uint32_t i = 0; i < n; i++) {
            uint32_t k = rnd(4);
            struct spec s = k == 0 ? TCP4() : k == 1 ? TCP6() : k == 2 ? UDP4() : UDP6();
            s.flow = (uint8_t)k;
            s.seq = seq[k];
            s.id = id[k];
            s.payload = 40;
            switch (rnd(12 * chaos)) {
            case 0: s.payload = (uint16_t)rnd(60); break;
            case 1: s.flags = (uint8_t)rnd(256); break;
            case 2: s.ttl ^= 1; break;
            case 3: s.tos ^= 2; break;
            case 4: s.seq += rnd(3); break;
            case 5: s.id = (uint16_t)(s.id - rnd(3)); break;
            case 6: s.ack = 1; break;
            case 7: s.window = 1; break;
            case 8: s.options = 0; break;
            case 9: s.fragment = (uint16_t)(rnd(4) << 13); break;
            default: break;
            }
            uint8_t *p = add(b, s);
            if (round % 2 && rnd(8 * chaos) == 0) {
                p[rnd(spec_len(&s))] ^= (uint8_t)(1 << rnd(8));
                flipped = true;
            }
            b->packet[b->n - 1].live = rnd(50) != 0;
            seq[k] = s.seq + s.payload;
            id[k] = (uint16_t)(s.id + 1);
        }
        check_merge(b, ALL, !flipped);
    }
}

int main(void)
{
    b = batch_make();
    bulk();
    two_flows_interleaved();
    what_separates();
    identification();
    corruption();
    odd_headers();
    barriers();
    garbage();
    mixtures();
    batch_destroy(b);
    return 0;
}
