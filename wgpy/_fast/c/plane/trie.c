/* Owns the pool of nodes. No lock: writers hold the plane's write lock, readers a read lock. */
#include "trie.h"

#include <errno.h>
#include <stdlib.h>

/* Addresses are 128-bit numbers, most significant half first; IPv4 fills the top 32. */
struct key {
    uint64_t hi, lo;
};

/* Invariant: a node owns a prefix or has two children, often both; so n prefixes need
 * at most 2n - 1 nodes. Node 0 is no node. A free node is chained by child[0]. */
struct node {
    struct key key; /* bits behind cidr are zero */
    uint32_t child[2];
    uint32_t peer; /* WG_NO_PEER: a branch only */
    uint8_t cidr;
    bool v6;
};

struct wg_trie {
    struct node *pool;
    uint32_t limit, count; /* prefixes */
    uint32_t used, spare;  /* nodes ever handed out; head of the free list */
    uint32_t root[2];      /* IPv4, IPv6 */
    uint32_t version;
};

enum { DEPTH_MAX = 129 };

struct wg_trie *trie_new(uint32_t prefixes)
{
    struct wg_trie *t = calloc(1, sizeof *t);
    if (!t || prefixes > UINT32_MAX / 2 - 1)
        goto fail;
    t->limit = prefixes;
    t->pool = calloc((size_t)prefixes * 2 + 1, sizeof *t->pool);
    if (t->pool)
        return t;
fail:
    free(t);
    return NULL;
}

void trie_free(struct wg_trie *t)
{
    if (t)
        free(t->pool);
    free(t);
}

static struct key masked(struct key k, unsigned cidr)
{
    k.hi = cidr >= 64 ? k.hi : cidr == 0 ? 0 : k.hi & UINT64_MAX << (64 - cidr);
    k.lo = cidr >= 128 ? k.lo : cidr <= 64 ? 0 : k.lo & UINT64_MAX << (128 - cidr);
    return k;
}

static struct key load(int family, const uint8_t *a)
{
    if (family == 4)
        return (struct key){(uint64_t)get_be32(a) << 32, 0};
    return (struct key){(uint64_t)get_be32(a) << 32 | get_be32(a + 4), (uint64_t)get_be32(a + 8) << 32 | get_be32(a + 12)};
}

static unsigned bit(struct key k, unsigned i)
{
    return (unsigned)((i < 64 ? k.hi >> (63 - i) : k.lo >> (127 - i)) & 1);
}

/* Leading bits that two keys share. */
static unsigned common(struct key a, struct key b)
{
    if (a.hi != b.hi)
        return (unsigned)__builtin_clzll(a.hi ^ b.hi);
    return a.lo != b.lo ? 64 + (unsigned)__builtin_clzll(a.lo ^ b.lo) : 128;
}

static bool covers(const struct node *n, struct key k)
{
    return common(n->key, k) >= n->cidr;
}

static bool valid(int family, unsigned cidr)
{
    return (family == 4 && cidr <= 32) || (family == 6 && cidr <= 128);
}

static uint32_t node_new(struct wg_trie *t, bool v6, struct key k, unsigned cidr, uint32_t peer)
{
    uint32_t i = t->spare;
    if (i)
        t->spare = t->pool[i].child[0];
    else
        i = ++t->used;
    t->pool[i] = (struct node){.key = masked(k, cidr), .peer = peer, .cidr = (uint8_t)cidr, .v6 = v6};
    return i;
}

static void node_free(struct wg_trie *t, uint32_t i)
{
    t->pool[i] = (struct node){.child = {t->spare, 0}, .peer = WG_NO_PEER};
    t->spare = i;
}

int trie_insert(struct wg_trie *t, int family, const uint8_t *addr, unsigned cidr, uint32_t peer)
{
    if (!valid(family, cidr) || peer == WG_NO_PEER)
        return -EINVAL;
    t->version++;
    struct key k = masked(load(family, addr), cidr);
    bool v6 = family == 6;
    uint32_t *link = &t->root[v6];
    struct node *n;
    while (n = &t->pool[*link], *link && n->cidr < cidr && covers(n, k))
        link = &n->child[bit(k, n->cidr)];

    bool exact = *link && n->cidr == cidr && covers(n, k);
    if (exact && n->peer != WG_NO_PEER) {
        n->peer = peer;
        return 0;
    }
    if (t->count == t->limit)
        return -ENOSPC;
    t->count++;
    if (exact) {
        n->peer = peer;
        return 0;
    }
    uint32_t fresh = node_new(t, v6, k, cidr, peer), below = *link;
    if (below) {
        unsigned shared = common(n->key, k);
        if (shared >= cidr) {
            t->pool[fresh].child[bit(n->key, cidr)] = below;
        } else {
            uint32_t branch = node_new(t, v6, k, shared, WG_NO_PEER);
            t->pool[branch].child[bit(k, shared)] = fresh;
            t->pool[branch].child[bit(n->key, shared)] = below;
            fresh = branch;
        }
    }
    *link = fresh;
    return 0;
}

/* Replaces a node that owns nothing and has at most one child by that child. */
static void splice(struct wg_trie *t, uint32_t *link)
{
    uint32_t i = *link;
    struct node *n = &t->pool[i];
    if (n->peer != WG_NO_PEER || (n->child[0] && n->child[1]))
        return;
    *link = n->child[0] ? n->child[0] : n->child[1];
    node_free(t, i);
}

static int remove_key(struct wg_trie *t, bool v6, struct key k, unsigned cidr, uint32_t peer)
{
    uint32_t *link = &t->root[v6], *above = NULL;
    struct node *n;
    while (n = &t->pool[*link], *link && n->cidr < cidr && covers(n, k)) {
        above = link;
        link = &n->child[bit(k, n->cidr)];
    }
    if (!*link || n->cidr != cidr || !covers(n, k) || n->peer != peer)
        return -ENOENT;
    n->peer = WG_NO_PEER;
    t->count--;
    t->version++;
    splice(t, link);
    if (above)
        splice(t, above);
    return 0;
}

int trie_remove(struct wg_trie *t, int family, const uint8_t *addr, unsigned cidr, uint32_t peer)
{
    if (!valid(family, cidr) || peer == WG_NO_PEER)
        return -EINVAL;
    return remove_key(t, family == 6, masked(load(family, addr), cidr), cidr, peer);
}

void trie_remove_peer(struct wg_trie *t, uint32_t peer)
{
    if (peer == WG_NO_PEER)
        return;
    for (uint32_t i = 1; i <= t->used; i++) {
        struct node n = t->pool[i];
        if (n.peer == peer)
            remove_key(t, n.v6, n.key, n.cidr, peer);
    }
}

uint32_t trie_lookup(const struct wg_trie *t, int family, const uint8_t *addr)
{
    if (family != 4 && family != 6)
        return WG_NO_PEER;
    struct key k = load(family, addr);
    unsigned bits = family == 4 ? 32 : 128;
    uint32_t best = WG_NO_PEER;
    for (uint32_t i = t->root[family == 6]; i;) {
        const struct node *n = &t->pool[i];
        if (!covers(n, k))
            break;
        if (n->peer != WG_NO_PEER)
            best = n->peer;
        if (n->cidr == bits)
            break;
        i = n->child[bit(k, n->cidr)];
    }
    return best;
}

static void walk(const struct wg_trie *t, bool v6, uint32_t peer, trie_each each, void *arg)
{
    uint32_t stack[DEPTH_MAX + 1], depth = 0;
    if (t->root[v6])
        stack[depth++] = t->root[v6];
    while (depth) {
        const struct node *n = &t->pool[stack[--depth]];
        if (n->peer != WG_NO_PEER && (peer == WG_NO_PEER || n->peer == peer)) {
            uint8_t a[16];
            for (unsigned i = 0; i < 8; i++) {
                a[i] = (uint8_t)(n->key.hi >> (56 - 8 * i));
                a[i + 8] = (uint8_t)(n->key.lo >> (56 - 8 * i));
            }
            each(arg, v6 ? 6 : 4, a, n->cidr, n->peer);
        }
        for (unsigned side = 2; side-- > 0;)
            if (n->child[side])
                stack[depth++] = n->child[side];
    }
}

void trie_walk(const struct wg_trie *t, uint32_t peer, trie_each each, void *arg)
{
    walk(t, false, peer, each, arg);
    walk(t, true, peer, each, arg);
}

uint32_t trie_count(const struct wg_trie *t) { return t->count; }
uint32_t trie_version(const struct wg_trie *t) { return t->version; }
