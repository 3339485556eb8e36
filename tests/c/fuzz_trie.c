/* Invariant: after any sequence of operations the trie answers as a list searched from
 * end to end, its walk gives the list sorted, and when all is removed it holds as many
 * prefixes as when it was new: no node is lost.
 * Input: the limit, then operations: code, peer, prefix length, up to 16 bytes. */
#include "fuzz.h"
#include "trie_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    struct input in = {data, size};
    memset(&m, 0, sizeof m);
    m.limit = 1 + take(&in) % 64;
    struct wg_trie *t = trie_new(m.limit);
    while (in.left) {
        uint8_t code = take(&in), a[16] = {0};
        uint32_t peer = code >> 5;
        int family = code & 8 ? 6 : 4;
        unsigned cidr = take(&in) % 130;
        take_bytes(&in, a, code & 16 ? 16 : 2);
        switch (code & 7) {
        case 0: case 1: case 2: case 3:
            CHECK(trie_insert(t, family, a, cidr, peer) == model_insert(&m, family, a, cidr, peer));
            break;
        case 4: case 5:
            CHECK(trie_remove(t, family, a, cidr, peer) == model_remove(&m, family, a, cidr, peer));
            break;
        case 6:
            trie_remove_peer(t, peer);
            model_remove_peer(&m, peer);
            break;
        default:
            check_walk(t, &m, peer);
        }
        CHECK(trie_lookup(t, family, a) == model_lookup(&m, family, a));
    }
    check_walk(t, &m, WG_NO_PEER);
    for (uint32_t peer = 0; peer < 8; peer++)
        trie_remove_peer(t, peer);
    CHECK(trie_count(t) == 0);
    for (uint32_t i = 0; i < m.limit; i++) {
        const uint8_t a[4] = {(uint8_t)(i * 37), (uint8_t)i};
        CHECK(!trie_insert(t, 4, a, 32, 1));
    }
    CHECK(trie_insert(t, 4, (const uint8_t *)"\xff\xff\xff\xff", 32, 1) == -ENOSPC);
    trie_free(t);
    return 0;
}
