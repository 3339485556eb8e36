#include "split_model.h"

static struct wg_batch *b;

static struct wg_vnet vnet(const struct spec *s, uint16_t size)
{
    bool tcp = s->proto == TCP;
    return (struct wg_vnet){
        .flags = VNET_NEEDS_CSUM,
        .gso_type = !tcp ? VNET_GSO_UDP_L4 : s->version == 4 ? VNET_GSO_TCP4 : VNET_GSO_TCP6,
        .hdr_len = (uint16_t)rnd(65536), .gso_size = size,
        .csum_start = (uint16_t)spec_l4(s), .csum_offset = tcp ? 16 : 6,
    };
}

/* Exact size on the heap: a read past the packet is a sanitizer report. */
static struct wg_split super(struct spec s, uint16_t size)
{
    uint8_t *p = malloc(spec_len(&s));
    uint32_t len = build(p, &s);
    seed_checksum(p, len, spec_l4(&s), s.proto);
    return (struct wg_split){.h = vnet(&s, size), .packet = p, .len = len};
}

static uint32_t run(struct wg_split s, bool checksums)
{
    struct split_seen seen = check_split(&s, b, checksums);
    free((void *)s.packet);
    return seen.packets;
}

static void supers(void)
{
    static const uint16_t size[] = {1, 7, 8, 536, 1360, 1368, 1448, 9000, 65000};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (uint32_t k = 0; k < 4; k++) {
            struct spec s = k == 0 ? TCP4(.payload = 65000, .seq = 0xffff0000, .id = 65530, .flags = ACK | PSH | FIN | CWR)
                          : k == 1 ? TCP6(.payload = 65000, .options = 10, .flags = ACK | PSH)
                          : k == 2 ? UDP4(.payload = 65000, .id = 7)
                                   : UDP6(.payload = 65000);
            CHECK(run(super(s, size[i]), true) == (65000u + size[i] - 1) / size[i]);
        }
    struct wg_split ecn = super(TCP4(.payload = 4000, .flags = ACK | CWR | ECE), 1000);
    ecn.h.gso_type |= VNET_GSO_ECN;
    CHECK(run(ecn, true) == 4);
    CHECK(run(super(TCP4(.payload = 10), 1000), true) == 1);
}

static void resumes_where_it_stopped(void)
{
    struct wg_split s = super(TCP4(.payload = 60000), 200);
    batch_reset(b);
    CHECK(!split(&s, b) && b->n == WG_BATCH_PACKETS && s.done == 200 * WG_BATCH_PACKETS);
    batch_reset(b);
    CHECK(split(&s, b) && b->n == 300 - WG_BATCH_PACKETS);
    CHECK(get_be32(bytes_of(b, 0) + 24) == 200 * WG_BATCH_PACKETS);
    free((void *)s.packet);
}

static void whole_packets(void)
{
    for (uint32_t k = 0; k < 2; k++) {
        struct wg_split s = super(k ? UDP6(.payload = 333) : TCP4(.payload = 501), 0);
        s.h.gso_type = VNET_GSO_NONE;
        struct wg_split copy = s;
        batch_reset(b);
        CHECK(split(&copy, b) && b->n == 1 && naive_l4_ok(bytes_of(b, 0), s.len, s.h.csum_start, k ? UDP : TCP));
        CHECK(run(s, true) == 1);
    }
    struct wg_split plain = super(TCP4(.payload = 1000), 0);
    plain.h = (struct wg_vnet){.flags = VNET_DATA_VALID};
    CHECK(run(plain, false) == 1);
    /* bytes behind the total length */
    plain = super(TCP4(.payload = 1000), 0);
    plain.h = (struct wg_vnet){0};
    put_be16((uint8_t *)plain.packet + 2, 900);
    CHECK(run(plain, false) == 1);
}

/* A UDP datagram whose sum comes to zero must carry 0xffff, not "no checksum". */
static void zero_checksum(void)
{
    struct wg_split s = super(UDP4(.payload = 2), 0);
    uint8_t *p = (uint8_t *)s.packet;
    s.h.gso_type = VNET_GSO_NONE;
    put_be16(p + 28, 0);
    put_be16(p + 28, (uint16_t)~naive_sum(0, p + 20, 10));
    batch_reset(b);
    CHECK(split(&s, b) && b->n == 1 && get_be16(bytes_of(b, 0) + 26) == 0xffff);
    free(p);
}

static void extension_headers(void)
{
    static const struct { uint8_t type; bool fine; } first[] = {
        {0, true}, {43, true}, {60, true}, {44, false}, {51, false}, {59, false}, {17, false},
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        enum { EXT = 24, PAYLOAD = 3000, LEN = 40 + EXT + 20 + PAYLOAD };
        uint8_t *p = calloc(1, LEN), *tcp = p + 40 + EXT;
        p[0] = 0x60;
        put_be16(p + 4, LEN - 40);
        p[6] = first[i].type;
        p[40] = 60, p[41] = 0;
        p[48] = TCP, p[49] = 1;
        tcp[12] = 0x50, tcp[13] = ACK;
        seed_checksum(p, LEN, 40 + EXT, TCP);
        struct wg_split s = {.h = {1, VNET_GSO_TCP6, 0, 1000, 40 + EXT, 16}, .packet = p, .len = LEN};
        CHECK(run(s, true) == (first[i].fine ? 3 : 0));
    }
    /* a chain that runs off the packet */
    uint8_t *p = calloc(1, 60);
    p[0] = 0x60, p[5] = 20, p[41] = 255;
    CHECK(run((struct wg_split){.h = {1, VNET_GSO_TCP6, 0, 1, 40, 16}, .packet = p, .len = 60}, false) == 0);
    p = calloc(1, 41);
    p[0] = 0x60, p[5] = 1;
    CHECK(run((struct wg_split){.h = {1, VNET_GSO_TCP6, 0, 1, 40, 16}, .packet = p, .len = 41}, false) == 0);
}

/* Transport headers that end with the packet. */
static void cut_short(void)
{
    for (uint32_t len = 20; len <= 40; len++)
        for (uint8_t tcp = 0; tcp < 2; tcp++) {
            uint8_t *p = calloc(1, len);
            p[0] = 0x45, p[3] = (uint8_t)len, p[9] = tcp ? TCP : UDP;
            if (len > 32)
                p[32] = 0x50;
            struct wg_vnet h = {1, tcp ? VNET_GSO_TCP4 : VNET_GSO_UDP_L4, 0, 1, 20, tcp ? 16 : 6};
            CHECK(run((struct wg_split){.h = h, .packet = p, .len = len}, false) == (tcp || len < 28 ? 0 : len - 28));
        }
}

#define CONTRADICTION(spec_, change) \
    do { \
        struct wg_split s = super(spec_, 1000); \
        uint8_t *p = (uint8_t *)s.packet; \
        change; \
        (void)p; \
        CHECK(run(s, false) == 0); \
    } while (0)

static void contradictions(void)
{
    struct spec t4 = TCP4(.payload = 5000), t6 = TCP6(.payload = 5000), u4 = UDP4(.payload = 5000);
    CONTRADICTION(t4, s.h.gso_size = 0);
    CONTRADICTION(u4, s.h.gso_size = 0);
    CONTRADICTION(t4, s.h.flags = 0);
    CONTRADICTION(t4, s.h.flags = VNET_DATA_VALID);
    CONTRADICTION(t4, s.h.gso_type = VNET_GSO_TCP6);
    CONTRADICTION(t6, s.h.gso_type = VNET_GSO_TCP4);
    CONTRADICTION(t4, s.h.gso_type = VNET_GSO_UDP_L4);
    CONTRADICTION(u4, s.h.gso_type = VNET_GSO_TCP4);
    CONTRADICTION(u4, s.h.gso_type = 3);
    CONTRADICTION(t4, s.h.gso_type = VNET_GSO_ECN);
    CONTRADICTION(t4, s.h.csum_start = 0);
    CONTRADICTION(t4, s.h.csum_start = 65535);
    CONTRADICTION(t4, s.h.csum_offset = 14);
    CONTRADICTION(t4, p[32] = 0x40);
    CONTRADICTION(TCP4(.payload = 10), p[32] = 0xf0);
    CONTRADICTION(t4, put_be16(p + 6, 0x2000));
    CONTRADICTION(t4, put_be16(p + 2, 4000));
    CONTRADICTION(t4, s.len -= 1);
    CONTRADICTION(t4, s.len = 39; put_be16(p + 2, 39));
    CONTRADICTION(TCP4(.payload = 0), (void)0);
    CONTRADICTION(t4, s.h.gso_type = 0; put_be16(p + 2, (uint16_t)(s.len + 1)));
    CONTRADICTION(t4, p[0] = 0x75);
    CONTRADICTION(t4, s.len = 0);
    CONTRADICTION(u4, s.h = ((struct wg_vnet){.flags = 1, .csum_start = 10}));
    CONTRADICTION(u4, s.h = ((struct wg_vnet){.flags = 1, .csum_start = 20, .csum_offset = 5007}));
    CONTRADICTION(u4, s.h = ((struct wg_vnet){.flags = 1, .csum_start = 65535, .csum_offset = 65535}));
}

int main(void)
{
    b = batch_make();
    supers();
    resumes_where_it_stopped();
    whole_packets();
    zero_checksum();
    extension_headers();
    cut_short();
    contradictions();
    batch_destroy(b);
    return 0;
}
