/* Nanoseconds for split and merge of one super-packet, the best of many runs. */
#include <time.h>

#include "ports/offload.h"
#include "packets.h"
#include "plane/trie.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double best(double a, double b) { return a == 0 || b < a ? b : a; }

static void super(const char *name, struct spec s, uint16_t size)
{
    static uint8_t p[65536];
    struct wg_batch *b = batch_make();
    struct wg_merge *m = malloc(sizeof *m);
    double t_split = 0, t_merge = 0;
    s.payload = (uint16_t)(65000 / size * size < size * 64 ? 65000 / size * size : size * 64);
    uint32_t len = build(p, &s), l4 = spec_l4(&s);
    put_be16(p + l4 + (s.proto == TCP ? 16 : 6), (uint16_t)naive_pseudo(p, s.proto, len - l4));
    struct wg_split first = {
        .h = {1, s.proto == UDP ? VNET_GSO_UDP_L4 : s.version == 4 ? VNET_GSO_TCP4 : VNET_GSO_TCP6, 0, size,
              (uint16_t)l4, s.proto == TCP ? 16 : 6},
        .packet = p, .len = len,
    };
    for (int i = 0; i < 3000; i++) {
        struct wg_split one = first;
        batch_reset(b);
        double a = now();
        CHECK(split(&one, b));
        double c = now();
        merge(b, m, MERGE_TCP | MERGE_UDP);
        double d = now();
        CHECK(m->n == 1);
        t_split = best(t_split, c - a);
        t_merge = best(t_merge, d - c);
    }
    printf("%-10s %5u x %4u B   split %7.1f ns/packet %6.3f ns/B   merge %7.1f ns/packet %6.3f ns/B\n", name, b->n, size,
           t_split / b->n, t_split / len, t_merge / b->n, t_merge / len);
    free(m);
    batch_destroy(b);
}

static void singles(uint32_t n)
{
    struct wg_batch *b = batch_make();
    struct wg_merge *m = malloc(sizeof *m);
    double t = 0;
    for (uint32_t i = 0; i < n; i++)
        add(b, TCP4(.flow = (uint8_t)i));
    for (int i = 0; i < 3000; i++) {
        double a = now();
        merge(b, m, MERGE_TCP | MERGE_UDP);
        t = best(t, now() - a);
    }
    printf("%-10s %5u             merge %7.1f ns/packet\n", "ACKs", n, t / n);
    free(m);
    batch_destroy(b);
}

static void lookups(uint32_t prefixes)
{
    struct wg_trie *t = trie_new(prefixes);
    double d = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < prefixes; i++) {
        uint8_t a[4];
        put_be32(a, i * 2654435761u);
        trie_insert(t, 4, a, 16 + i % 17, i);
    }
    for (int i = 0; i < 200; i++) {
        double a = now();
        for (uint32_t k = 0; k < 256; k++) {
            uint8_t to[4];
            put_be32(to, k * 2654435761u * 7);
            found += trie_lookup(t, 4, to);
        }
        d = best(d, now() - a);
    }
    printf("%-10s %7u prefixes  lookup %6.1f ns%s\n", "trie", prefixes, d / 256, found ? "" : " ");
    trie_free(t);
}

int main(void)
{
    super("TCPv4", TCP4(.id = 1), 1360);
    super("TCPv6", TCP6(.id = 1), 1360);
    super("TCPv4", TCP4(.id = 1), 8900);
    super("UDPv4", UDP4(.id = 1), 1392);
    super("UDPv4", UDP4(.id = 1), 64);
    singles(1);
    singles(200);
    lookups(1);
    lookups(250);
    lookups(131072);
    return 0;
}
