/* A group of pumps sends in the order of receipt, shares only what is worth it, loses and
 * repeats nothing while the control thread changes peers and keys, and ends as a whole.
 * Also run under ThreadSanitizer. */
#include "pumps.h"

#include <errno.h>
#include <unistd.h>

enum { K = 4, PEERS = 3, LEN = 64, GENERATIONS = 300, INDICES = PEERS * (GENERATIONS + 1), LANE = 0xee };

static void (*sealing)(uint32_t number); /* called as a batch is sealed whose first packet has that number */

static void watched_seal(struct wgpy_packet *job, size_t n)
{
    if (sealing && n)
        sealing(get_le32(job->data + 20));
    null_seal(job, n);
}
static void null_open(struct wgpy_packet *job, size_t n)
{
    for (; n; job++, n--)
        job->ok = (*(uint8_t *)job->context = 1); /* faults without a key */
}
static const struct wg_aead watched = {.key_new = null_key_new, .key_free = null_key_free,
                                       .seal = watched_seal, .open = null_open};

/* --- the ports --- */

struct source {
    struct wg_port port;
    uint32_t batches, size;    /* left to give, and packets in each, 0: any number */
    bool more, datagrams;      /* says that there is more; for the open stage */
    int end;                   /* afterwards: 0 or -errno */
    uint32_t calls, given, next[PEERS];
    _Atomic uint32_t index;    /* datagrams: of the first peer's keypair */
};

static void put(struct source *s, struct wg_batch *b, uint8_t peer, uint32_t index)
{
    const uint8_t ip[20] = {0x45, [3] = LEN, [8] = 64, [9] = UDP, [12] = 10, peer, [16] = 10, peer};
    uint8_t *at = b->bytes + batch_append(b, LEN + (s->datagrams ? WG_OVERHEAD : 0))->off;
    uint32_t number = s->next[peer]++;
    if (s->datagrams) {
        put_le32(at, WG_TRANSPORT);
        put_le32(at + 4, index + peer);
        put_le64(at + 8, number);
        at += WG_HEADER;
    }
    memset(at, 0, LEN);
    memcpy(at, ip, sizeof ip);
    put_le32(at + 20, number);
    s->given++;
}

static int receive(struct wg_port *port, struct wg_batch *b)
{
    struct source *s = (struct source *)port;
    uint32_t before = b->n, index = s->index;
    port->recheck_ms = 1;
    port->drained = true;
    if (!s->batches)
        return s->end;
    if (++s->calls % 64 == 0)
        return 0;
    s->batches--;
    if (s->datagrams)
        b->endpoint[b->endpoints++] = (struct wg_endpoint){.family = 4, .port = 1};
    for (uint32_t i = s->size ? s->size : rnd(WG_BATCH_PACKETS); i && batch_has_room(b, 1, LEN + WG_OVERHEAD); i--)
        put(s, b, (uint8_t)rnd(PEERS), index);
    port->drained = !s->more;
    return (int)(b->n - before);
}

struct sink {
    struct wg_port port;
    bool opened;
    uint32_t users, taken, services, last[PEERS];
    _Atomic uint32_t lane;
    uint64_t counter[INDICES]; /* seal: next one expected at least, by receiver index */
};

/* Plain memory, so that ThreadSanitizer sees whether members take turns. */
static void enter(struct sink *s) { CHECK(s->users++ == 0); }
static void leave(struct sink *s) { CHECK(--s->users == 0); }

static void send(struct wg_port *port, struct wg_batch *b)
{
    struct sink *s = (struct sink *)port;
    enter(s);
    for (uint32_t i = 0; i < b->n; i++) {
        const uint8_t *at = b->bytes + b->packet[i].off;
        if (!b->packet[i].live)
            continue;
        if (at[0] == LANE) {
            CHECK(get_le32(at + 4) == atomic_fetch_add(&s->lane, 1));
            continue;
        }
        if (!s->opened) { /* counters go out as they were given */
            uint32_t index = get_le32(at + 4);
            CHECK(index < INDICES && get_le64(at + 8) >= s->counter[index]);
            s->counter[index] = get_le64(at + 8) + 1;
            at += WG_HEADER;
        }
        CHECK(get_le32(at + 20) >= s->last[at[17]]);
        s->last[at[17]] = get_le32(at + 20) + 1;
        s->taken++;
    }
    leave(s);
}

static void service(struct wg_port *port)
{
    struct sink *s = (struct sink *)port;
    enter(s);
    s->services++;
    leave(s);
}

/* --- the group --- */

static struct source source;
static struct sink sink;
static struct wg_pump pump[K];
static struct wg_group group;
static union either_stage stages[K];
static pthread_t thread[K];

static void install(uint32_t slot, uint32_t index)
{
    const uint8_t key[WG_KEY] = {1};
    const struct wg_keypair facts = {.initiator = true, .local = index, .remote = index, .birth = pump_clock()};
    CHECK(plane_install(plane, slot, &facts, key, key, NULL) == 0);
}

static void make(bool opens)
{
    begin(K, seal_stage_init);
    plane->aead = &watched;
    source = (struct source){.port = {.receive = receive, .fds = NO_FDS}, .more = true, .datagrams = opens};
    sink = (struct sink){.port = {.send = send, .service = service, .fds = NO_FDS}, .opened = opens};
    pumps_init(pump, stages, K, opens, &source.port, &sink.port);
    group_init(&group, pump, K);
    for (uint8_t i = 0; i < PEERS; i++)
        install(add_peer(i), i);
}

static void *run(void *p) { return (void *)(intptr_t)pump_run(p); }

static void start(void)
{
    for (uint32_t i = 0; i < K; i++)
        CHECK(pthread_create(&thread[i], NULL, run, &pump[i]) == 0);
}

/* How many members said that the source is gone. */
static uint32_t join(void)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < K; i++) {
        void *said;
        pthread_join(thread[i], &said);
        failed += (intptr_t)said == -ENODEV;
    }
    return failed;
}

static void stop(void)
{
    for (uint32_t i = 0; i < K; i++)
        pump_stop(&pump[i]);
    CHECK(join() == 0);
}

static uint64_t dropped(enum wg_drop why)
{
    uint64_t n = counted(&plane->drops[why]);
    for (uint32_t i = 0; i < K; i++)
        n += counted(&pump[i].batch.drops[why]);
    return n;
}

static void unmake(void)
{
    for (uint32_t i = 0; i < K; i++)
        pump_free(&pump[i]);
    group_free(&group);
    plane_free(plane);
    sealing = NULL;
}

/* --- the tests --- */

static _Atomic bool second_is_sealed;

static void first_waits(uint32_t number)
{
    while (number == 0 && !second_is_sealed)
        usleep(100);
    second_is_sealed = true;
}

/* The first batch is not sealed before the second is, and yet goes first. */
static void another_receives_meanwhile(void)
{
    make(false);
    plane_remove_peer(plane, 1);
    plane_remove_peer(plane, 2);
    sealing = first_waits;
    source.size = 100;
    source.batches = 2;
    source.end = -ENODEV;
    start();
    CHECK(join() == 1); /* all have ended, one with the reason */
    CHECK(sink.taken + dropped(WG_DROP_no_peer) == source.given && sink.taken > 0);
    unmake();
}

/* Few packets, or all there were: nobody is woken for them. */
static void one_thread_does(uint32_t size, bool more)
{
    make(false);
    source.size = size;
    source.more = more;
    source.batches = 500;
    source.end = -ENODEV;
    start();
    CHECK(join() == 1 && sink.taken == source.given);
    uint32_t busy = 0;
    for (uint32_t i = 0; i < K; i++)
        busy += counted(&pump[i].batches) > 0;
    CHECK(busy == 1 && sink.services > 1);
    unmake();
}

/* More waits in the lane than one batch takes, and nobody wakes the group again. */
static void pulls_to_the_end(void)
{
    static uint8_t datagram[WG_LANE_BYTES] = {LANE};
    const struct wg_endpoint there = {.family = 4, .port = 9};
    make(false);
    for (uint32_t i = 0; i < WG_LANE_SLOTS; i++) {
        put_le32(datagram + 4, i);
        CHECK(lane_put(&plane->to_udp, datagram, sizeof datagram, WG_NO_PEER, 0, &there) == 0);
    }
    start();
    wake(&plane->seal_waker);
    while (sink.lane < WG_LANE_SLOTS)
        usleep(100);
    stop();
    unmake();
}

static void renew(uint32_t peer, uint32_t index)
{
    switch (index % 4) {
    case 0:
        plane_remove_peer(plane, peer);
        CHECK(add_peer((uint8_t)peer) == peer);
        break;
    case 1:
        plane_expire(plane, peer, UINT64_MAX, NULL);
        break;
    }
    usleep(index * 37 % 500);
    install(peer, index);
    plane_want(plane, peer, WANT_FLUSH);
}

static void seals_while_peers_come_and_go(void)
{
    const struct wg_endpoint there = {.family = 4, .port = 9};
    uint8_t datagram[8] = {LANE};
    uint64_t waiting = 0;
    make(false);
    source.batches = UINT32_MAX;
    start();
    for (uint32_t i = PEERS, sent = 0; i < INDICES; i++) {
        renew(i % PEERS, i);
        put_le32(datagram + 4, sent);
        sent += lane_put(&plane->to_udp, datagram, sizeof datagram, WG_NO_PEER, 0, &there) == 0;
        wake(&plane->seal_waker);
    }
    stop(); /* under load */
    for (uint32_t i = 0; i < PEERS; i++)
        waiting += plane->peer[i].staged.count;
    uint64_t lost = dropped(WG_DROP_no_peer) + dropped(WG_DROP_staged_oldest) + dropped(WG_DROP_staged_purged);
    fprintf(stderr, "seal: %u packets, %u sent, %u from the lane, %u lost without a key or peer, %u wait\n",
            source.given, sink.taken, sink.lane, (unsigned)lost, (unsigned)waiting);
    CHECK(sink.taken > 0 && sink.lane > 0 && sink.taken + lost + waiting == source.given);
    unmake();
}

static void opens_while_keys_change(void)
{
    make(true);
    source.batches = UINT32_MAX;
    start();
    for (uint32_t i = PEERS; i < INDICES; i += PEERS) {
        for (uint32_t peer = 0; peer < PEERS; peer++)
            install(peer, i + peer);
        source.index = i;
        usleep(i * 37 % 1000);
    }
    stop();
    fprintf(stderr, "open: %u datagrams, %u opened, %u of keys too old\n", source.given, sink.taken,
            (unsigned)dropped(WG_DROP_unknown_index));
    CHECK(sink.taken > 0 && sink.taken + dropped(WG_DROP_unknown_index) == source.given);
    unmake();
}

int main(void)
{
    alarm(60);
    another_receives_meanwhile();
    one_thread_does(16, true);
    one_thread_does(100, false);
    pulls_to_the_end();
    seals_while_peers_come_and_go();
    opens_while_keys_change();
    return 0;
}
