/* Runs each part of the packet path a few times under callgrind and has it write one
 * dump a part: its instructions are then counted, and nothing else. Prints
 * "<part> <packets>" for each dump, in order. With the argument "time", and without
 * valgrind, prints nanoseconds a packet instead.
 *
 * A null AEAD, which copies nothing and believes every tag, shows what the path costs
 * without cryptography. */
#include "ports/offload.h"
#include "packets.h"
#include "plane/stage.h"
#include "ring_pair.h"
#include "plane/trie.h"

#include <time.h>
#include <valgrind/callgrind.h>

enum { TURNS = 8, WARM = 3, PREFIXES = 100000, TIMED_TURNS = 4000, RING_BYTES = 1 << 21 };

static bool timing;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What is measured: `ready` before each turn is not counted, `run` is. */
struct part {
    char name[40];
    void (*ready)(void *);
    void (*run)(void *);
    void *arg;
    uint32_t packets; /* a turn */
};

static __attribute__((noinline)) void turn(const struct part *p)
{
    if (p->ready)
        p->ready(p->arg);
    CALLGRIND_TOGGLE_COLLECT;
    p->run(p->arg);
    CALLGRIND_TOGGLE_COLLECT;
}

static void measure(const struct part *p)
{
    for (int i = 0; i < WARM; i++)
        turn(p);
    if (timing) {
        double best = 1e18;
        for (int i = 0; i < TIMED_TURNS; i++) {
            if (p->ready)
                p->ready(p->arg);
            double began = now_ns();
            p->run(p->arg);
            double took = now_ns() - began;
            best = took < best ? took : best;
        }
        printf("%-28s %8.1f ns\n", p->name, best / p->packets);
        return;
    }
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < TURNS; i++)
        turn(p);
    CALLGRIND_DUMP_STATS_AT(p->name);
    printf("%s %u\n", p->name, p->packets * TURNS);
}

/* --- the null AEAD --- */

static bool always(void) { return true; }
static void *null_key(const uint8_t key[WG_KEY])
{
    (void)key;
    return malloc(1);
}
static void null_run(struct wgpy_packet *job, size_t n)
{
    for (uint32_t i = 0; i < n; i++)
        job[i].ok = 1;
}
static const struct wg_aead aead_null = {"null", WG_KEY, WG_TAG, false, always, null_key, free, null_run, null_run};

/* --- seal and open: a train of equal packets to one of the peers --- */

struct path {
    struct wg_plane *plane;
    struct wg_seal_stage seal;
    struct wg_open_stage open;
    struct wg_batch *plain, *datagrams;
    uint32_t packets, len;
    uint8_t flow;
};

enum { PEERS = 250 };

static void queue_plain(void *arg)
{
    struct path *t = arg;
    batch_reset(t->plain);
    for (uint32_t i = 0; i < t->packets; i++)
        add(t->plain, UDP4(.payload = (uint16_t)(t->len - 28), .flow = t->flow, .id = (uint16_t)i));
}

static void run_seal(void *arg)
{
    struct path *t = arg;
    t->seal.base.stage.run(&t->seal.base.stage, t->plain);
}

static void queue_datagrams(void *arg)
{
    struct path *t = arg;
    queue_plain(t);
    run_seal(t);
    batch_reset(t->datagrams);
    t->datagrams->endpoint[t->datagrams->endpoints++] = t->plain->endpoint[0];
    for (uint32_t i = 0; i < t->packets; i++) {
        const struct wg_packet *p = &t->plain->packet[i];
        CHECK(p->live);
        uint8_t *d = t->datagrams->bytes + batch_append(t->datagrams, p->len)->off;
        memcpy(d, t->plain->bytes + p->off, p->len);
    }
}

static void run_open(void *arg)
{
    struct path *t = arg;
    t->open.base.stage.run(&t->open.base.stage, t->datagrams);
}

static void *no_sealer(void) { return malloc(1); }

static void crypto(const struct wg_aead *aead, uint32_t packets, uint32_t len, uint32_t peers, uint32_t prefixes,
                   const char *suffix)
{
    struct path *t = calloc(1, sizeof *t);
    static const struct wg_macs no_macs = {.public_size = 32, .mac_size = 16, .nonce_size = 24, .cookie_tag_size = 16,
                                           .sealer_new = no_sealer, .sealer_free = free};
    t->plane = plane_new(peers, 2 * peers + prefixes, 1, aead, &no_macs);
    CHECK(t->plane);
    t->packets = packets;
    t->len = len;
    t->flow = (uint8_t)(peers * 4 / 5);
    t->plain = batch_make();
    t->datagrams = batch_make();
    t->plain->now = t->datagrams->now = 1000 * WG_SECOND;
    for (uint32_t i = 0; i < peers; i++) {
        const uint8_t key[WG_KEY] = {1, (uint8_t)i}, to[4] = {10, 0, 1, (uint8_t)i}, from[4] = {10, 0, 0, 1};
        uint32_t slot = plane_add_peer(t->plane);
        struct wg_keypair facts = {.initiator = true, .local = 77 + i, .remote = 77 + i, .birth = 990 * WG_SECOND};
        t->plane->peer[slot].endpoint = (struct wg_endpoint){.family = 4, .port = 9, .addr = {192, 0, 2, (uint8_t)i}};
        CHECK(!trie_insert(t->plane->trie, 4, to, 32, slot) && !plane_install(t->plane, slot, &facts, key, key, NULL));
        if (i == t->flow)
            CHECK(!trie_insert(t->plane->trie, 4, from, 32, slot));
    }
    for (uint32_t i = 0; i < prefixes; i++) {
        uint8_t other[4];
        put_be32(other, 11u << 24 | rnd(1u << 24));
        CHECK(!trie_insert(t->plane->trie, 4, other, 16 + rnd(17), i % peers));
    }
    seal_stage_init(&t->seal, t->plane, 0, 1420);
    open_stage_init(&t->open, t->plane, 0);
    struct part seal = {.ready = queue_plain, .run = run_seal, .arg = t, .packets = packets};
    struct part open = {.ready = queue_datagrams, .run = run_open, .arg = t, .packets = packets};
    snprintf(seal.name, sizeof seal.name, "seal-%s-%u%s", aead->name, len, suffix);
    snprintf(open.name, sizeof open.name, "open-%s-%u%s", aead->name, len, suffix);
    measure(&seal);
    measure(&open);
    for (uint32_t i = 0; i < packets; i++)
        CHECK(t->datagrams->packet[i].live && t->datagrams->packet[i].len == len);
    plane_free(t->plane);
    batch_destroy(t->plain);
    batch_destroy(t->datagrams);
    free(t);
}

/* --- split and merge of one super-packet --- */

struct super {
    uint8_t packet[65536];
    struct wg_split split;
    struct wg_batch *b;
    struct wg_merge merged;
};

static void run_split(void *arg)
{
    struct super *u = arg;
    struct wg_split again = u->split;
    batch_reset(u->b);
    CHECK(split(&again, u->b));
}

static void run_merge(void *arg)
{
    struct super *u = arg;
    merge(u->b, &u->merged, MERGE_TCP | MERGE_UDP);
    CHECK(u->merged.n == 1);
}

static void offload(const char *what, struct spec s, uint16_t size)
{
    struct super *u = calloc(1, sizeof *u);
    uint32_t segments = 64000u / size < WG_SEGMENTS_MAX ? 64000u / size : WG_SEGMENTS_MAX;
    s.payload = (uint16_t)(size * segments);
    uint32_t len = build(u->packet, &s), l4 = spec_l4(&s);
    uint16_t check = s.proto == TCP ? 16 : 6;
    put_be16(u->packet + l4 + check, (uint16_t)naive_pseudo(u->packet, s.proto, len - l4));
    u->b = batch_make();
    u->split = (struct wg_split){
        .h = {VNET_NEEDS_CSUM, s.proto == UDP ? VNET_GSO_UDP_L4 : VNET_GSO_TCP4, 0, size, (uint16_t)l4, check},
        .packet = u->packet, .len = len,
    };
    struct part part = {.run = run_split, .arg = u, .packets = segments};
    snprintf(part.name, sizeof part.name, "split-%s-%u", what, size);
    measure(&part);
    part = (struct part){.ready = run_split, .run = run_merge, .arg = u, .packets = segments};
    snprintf(part.name, sizeof part.name, "merge-%s-%u", what, size);
    measure(&part);
    batch_destroy(u->b);
    free(u);
}

/* --- trie --- */

enum { LOOKUPS = 1024 };

struct lookups {
    struct wg_trie *trie;
    int family;
    uint8_t to[LOOKUPS][16];
    uint32_t found;
};

static void run_lookups(void *arg)
{
    struct lookups *l = arg;
    for (uint32_t i = 0; i < LOOKUPS; i++)
        l->found += trie_lookup(l->trie, l->family, l->to[i]) != WG_NO_PEER;
}

/* Random prefixes; half of the addresses lie in one of them. */
static void prefixes(const char *name, int family)
{
    struct lookups *l = calloc(1, sizeof *l);
    l->trie = trie_new(PREFIXES);
    l->family = family;
    for (uint32_t i = 0; i < PREFIXES; i++) {
        uint8_t a[16];
        for (int k = 0; k < 16; k += 2)
            put_be16(a + k, (uint16_t)rnd(65536));
        if (family == 6)
            a[0] = 0xfd;
        CHECK(!trie_insert(l->trie, family, a, family == 4 ? 12 + rnd(21) : 48 + rnd(81), i % PEERS) ||
              trie_count(l->trie) == PREFIXES);
        if (i % (PREFIXES / LOOKUPS * 2) == 0 && i / (PREFIXES / LOOKUPS * 2) < LOOKUPS / 2)
            memcpy(l->to[i / (PREFIXES / LOOKUPS * 2)], a, 16);
    }
    for (uint32_t i = LOOKUPS / 2; i < LOOKUPS; i++)
        put_be32(l->to[i], rnd(1u << 31) * 2);
    struct part part = {.run = run_lookups, .arg = l, .packets = LOOKUPS};
    snprintf(part.name, sizeof part.name, "%s", name);
    measure(&part);
    CHECK(l->found >= LOOKUPS / 2);
    trie_free(l->trie);
    free(l);
}

/* --- rings: a train in, a train out --- */

struct crossing {
    struct pair *pair;
    uint32_t packets, len;
};

static void queue_train(void *arg)
{
    struct crossing *c = arg;
    batch_reset(c->pair->sent);
    from_endpoint(c->pair->sent, 1);
    for (uint32_t i = 0; i < c->packets; i++)
        queue(c->pair->sent, c->len);
}

static void run_out(void *arg)
{
    struct pair *p = ((struct crossing *)arg)->pair;
    p->out.port.send(&p->out.port, p->sent);
}

static void run_in(void *arg)
{
    struct crossing *c = arg;
    CHECK(receive(c->pair) == c->packets);
}

static void ready_out(void *arg)
{
    struct crossing *c = arg;
    receive(c->pair);
    queue_train(c);
}

static void ready_in(void *arg)
{
    queue_train(arg);
    run_out(arg);
}

static void ring(uint32_t packets, uint32_t len)
{
    struct crossing c = {new_pair(RING_BYTES, true), packets, len};
    join(c.pair);
    struct part out = {.ready = ready_out, .run = run_out, .arg = &c, .packets = packets};
    struct part in = {.ready = ready_in, .run = run_in, .arg = &c, .packets = packets};
    snprintf(out.name, sizeof out.name, "ring-out-%u", len);
    snprintf(in.name, sizeof in.name, "ring-in-%u", len);
    measure(&out);
    receive(c.pair);
    measure(&in);
    free_pair(c.pair);
}

int main(int argc, char **argv)
{
    timing = argc > 1 && !strcmp(argv[1], "time");
    CHECK(timing || RUNNING_ON_VALGRIND);
    const struct wg_aead *const backends[] = {&aead_null, &aead_ssse3, &aead_avx2};
    for (int i = 0; i < 3; i++) {
        if (!backends[i]->supported())
            continue;
        crypto(backends[i], 45, 1420, PEERS, PEERS, "");
        crypto(backends[i], 128, 64, PEERS, PEERS, "");
    }
    crypto(&aead_null, 45, 1420, 1, 1, "-alone");
    crypto(&aead_null, 45, 1420, PEERS, PREFIXES, "-crowd");
    offload("tcp", TCP4(.id = 1), 1368);
    offload("udp", UDP4(.id = 1), 64);
    prefixes("trie-v4", 4);
    prefixes("trie-v6", 6);
    ring(45, 1452);
    ring(128, 96);
    return 0;
}
