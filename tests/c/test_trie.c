#include "trie_model.h"

static const uint8_t *ip4(unsigned a, unsigned b, unsigned c, unsigned d)
{
    static uint8_t x[4][4];
    static int i;
    uint8_t *p = x[i++ & 3];
    p[0] = (uint8_t)a, p[1] = (uint8_t)b, p[2] = (uint8_t)c, p[3] = (uint8_t)d;
    return p;
}

static void longest_prefix(void)
{
    struct wg_trie *t = trie_new(64);
    enum { A = 1, B, C, D };
    CHECK(trie_lookup(t, 4, ip4(1, 2, 3, 4)) == WG_NO_PEER);
    CHECK(!trie_insert(t, 4, ip4(192, 168, 4, 0), 24, A) && !trie_insert(t, 4, ip4(192, 168, 4, 4), 32, B));
    CHECK(!trie_insert(t, 4, ip4(192, 168, 0, 0), 16, C) && !trie_insert(t, 4, ip4(0, 0, 0, 0), 0, D));
    CHECK(trie_lookup(t, 4, ip4(192, 168, 4, 20)) == A && trie_lookup(t, 4, ip4(192, 168, 4, 4)) == B);
    CHECK(trie_lookup(t, 4, ip4(192, 168, 200, 1)) == C && trie_lookup(t, 4, ip4(8, 8, 8, 8)) == D);
    CHECK(trie_lookup(t, 6, (const uint8_t *)"\xc0\xa8\x04\x04............") == WG_NO_PEER);
    /* another owner takes the prefix, and only that */
    CHECK(!trie_insert(t, 4, ip4(192, 168, 4, 99), 24, D) && trie_count(t) == 4);
    CHECK(trie_lookup(t, 4, ip4(192, 168, 4, 20)) == D && trie_lookup(t, 4, ip4(192, 168, 4, 4)) == B);
    CHECK(trie_remove(t, 4, ip4(192, 168, 4, 0), 24, A) == -ENOENT);
    CHECK(!trie_remove(t, 4, ip4(192, 168, 4, 7), 24, D) && trie_lookup(t, 4, ip4(192, 168, 4, 20)) == C);
    CHECK(trie_insert(t, 4, ip4(1, 1, 1, 1), 33, A) == -EINVAL && trie_insert(t, 5, ip4(1, 1, 1, 1), 8, A) == -EINVAL);
    CHECK(trie_insert(t, 6, (const uint8_t *)"................", 129, A) == -EINVAL);
    CHECK(trie_insert(t, 4, ip4(1, 1, 1, 1), 8, WG_NO_PEER) == -EINVAL);
    trie_free(t);
}

/* The same bits and length in both families belong to the peer twice. */
static void families_apart(void)
{
    struct wg_trie *t = trie_new(8);
    const uint8_t a[16] = {10};
    CHECK(!trie_insert(t, 6, a, 8, 1) && !trie_insert(t, 4, a, 8, 1));
    trie_remove_peer(t, 1);
    CHECK(trie_count(t) == 0 && trie_lookup(t, 4, a) == WG_NO_PEER && trie_lookup(t, 6, a) == WG_NO_PEER);
    trie_free(t);
}

/* Filled and emptied many times over: no node is lost. */
static void nothing_leaks(void)
{
    enum { LIMIT = 100 };
    struct wg_trie *t = trie_new(LIMIT);
    for (int round = 0; round < 200; round++) {
        uint8_t a[16];
        uint32_t n = 0;
        while (n < LIMIT) {
            for (int i = 0; i < 16; i++)
                a[i] = (uint8_t)rnd(256);
            int family = rnd(2) ? 4 : 6;
            CHECK(!trie_insert(t, family, a, rnd(family == 4 ? 33 : 129), rnd(4)));
            n = trie_count(t);
        }
        memset(a, 0x55, 16);
        CHECK(trie_insert(t, 6, a, 128, 1) == -ENOSPC);
        for (uint32_t p = 0; p < 4; p++)
            trie_remove_peer(t, p);
        CHECK(trie_count(t) == 0);
    }
    trie_free(t);
}

static void against_the_list(void)
{
    for (uint32_t round = 0; round < 40; round++) {
        static struct model m;
        memset(&m, 0, sizeof m);
        m.limit = 1 + rnd(300);
        struct wg_trie *t = trie_new(m.limit);
        uint32_t variety = 1 + rnd(256); /* few values: prefixes nest */
        for (uint32_t i = 0; i < 1500; i++) {
            uint8_t a[16];
            int family = rnd(2) ? 4 : 6;
            unsigned cidr = rnd(family == 4 ? 33 : 129);
            uint32_t peer = rnd(8);
            for (int k = 0; k < 16; k++)
                a[k] = (uint8_t)(rnd(variety) * 37);
            if (m.n && rnd(3) == 0) {
                const struct entry *e = &m.e[rnd(m.n)];
                memcpy(a, e->addr, 16);
                family = e->family;
                cidr = e->cidr;
            }
            switch (rnd(8)) {
            case 0: case 1: case 2: case 3:
                CHECK(trie_insert(t, family, a, cidr, peer) == model_insert(&m, family, a, cidr, peer));
                break;
            case 4: case 5: case 6:
                CHECK(trie_remove(t, family, a, cidr, peer) == model_remove(&m, family, a, cidr, peer));
                break;
            default:
                if (rnd(20) == 0) {
                    trie_remove_peer(t, peer);
                    model_remove_peer(&m, peer);
                }
            }
            CHECK(trie_lookup(t, family, a) == model_lookup(&m, family, a));
            a[rnd(16)] ^= (uint8_t)(1 << rnd(8));
            CHECK(trie_lookup(t, family, a) == model_lookup(&m, family, a));
        }
        check_walk(t, &m, WG_NO_PEER);
        check_walk(t, &m, 3);
        trie_free(t);
    }
}

int main(void)
{
    longest_prefix();
    families_apart();
    nothing_leaks();
    against_the_list();
    CHECK(trie_new(UINT32_MAX) == NULL);
    struct wg_trie *empty = trie_new(0);
    CHECK(empty && trie_insert(empty, 4, (const uint8_t *)"....", 0, 1) == -ENOSPC);
    trie_free(empty);
    return 0;
}
