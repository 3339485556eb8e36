/* Fairness between peers (F3): while more arrives than is opened, a greedy peer's packets are
 * dropped before the cipher, its oldest first, and the others' none; and nobody can make a
 * peer look greedy with packets that only bear its receiver index. */
#include "one_plane.h"
#include "ports/ports.h"
#include "core/pump.h"

enum { GREEDY = 1, MODEST = 2, LEN = 1000, FORGED = 0xbad, BATCHES = 40 };

static uint64_t ciphered; /* packets that the cipher saw */

static void watched_open(struct wgpy_packet *job, size_t n)
{
    ciphered += n;
    for (; n; job++, n--)
        job->ok = get_le32(job->data + 16) != FORGED;
}

static struct wg_open_stage stage;
static uint64_t next_counter[3];
static const struct wg_aead aead = {.key_new = null_key_new, .key_free = null_key_free, .seal = null_seal,
                                    .open = watched_open};

static uint64_t shared(void) { return counted(&batch.drops[WG_DROP_peer_share]); }

static void start(void)
{
    static _Alignas(64) uint8_t bytes[WG_BATCH_BYTES];
    const uint8_t key[WG_KEY] = {1};
    plane = plane_new(8, 64, 1, &aead, &null_macs);
    CHECK(plane);
    memset(&stage, 0, sizeof stage);
    open_stage_init(&stage, plane, 0);
    memset(&batch, 0, sizeof batch);
    memset(next_counter, 0, sizeof next_counter);
    batch.bytes = bytes;
    batch.now = 100 * WG_SECOND;
    ciphered = 0;
    for (uint8_t n = GREEDY; n <= MODEST; n++) {
        const struct wg_keypair facts = {.initiator = true, .local = n, .remote = n, .birth = batch.now};
        CHECK(plane_install(plane, add_peer(n), &facts, key, key, NULL) == 0);
    }
}

/* Writes a transport message of the peer: the cleartext, since the cipher does nothing. */
static void write_message(uint8_t *d, uint8_t peer, uint32_t mark)
{
    const uint8_t ip[20] = {0x45, [2] = (LEN - WG_OVERHEAD) >> 8, (LEN - WG_OVERHEAD) & 0xff,
                            [8] = 64, [9] = UDP, [12] = 10, peer, [16] = 10, peer};
    memset(d, 0, LEN);
    put_le32(d, WG_TRANSPORT);
    put_le32(d + 4, peer);
    put_le64(d + 8, next_counter[peer]++);
    memcpy(d + WG_HEADER, ip, sizeof ip);
    if (mark)
        put_le32(d + WG_HEADER + 16, mark);
}

static void put(uint8_t peer, uint32_t packets, uint32_t mark)
{
    const struct wg_endpoint from = {.family = 4, .port = peer, .addr = {192, 0, 2, peer}};
    uint16_t ep = batch_endpoint(&batch, &from);
    for (uint32_t i = 0; i < packets; i++) {
        struct wg_packet *p = batch_append(&batch, LEN);
        p->ep = ep;
        write_message(batch.bytes + p->off, peer, mark);
    }
}

static void run(bool pressed)
{
    batch.pressed = pressed;
    stage.base.stage.run(&stage.base.stage, &batch);
    batch.now += WG_SECOND / 1000;
}

static uint32_t live(uint32_t from, uint32_t n)
{
    uint32_t alive = 0;
    for (uint32_t i = from; i < from + n; i++)
        alive += batch.packet[i].live;
    return alive;
}

static void only_under_pressure_and_only_the_greedy(void)
{
    start();
    for (int i = 0; i < BATCHES; i++) {
        batch_reset(&batch);
        put(GREEDY, 200, 0);
        put(MODEST, 20, 0);
        run(false);
        CHECK(live(0, 220) == 220);
    }
    CHECK(shared() == 0 && ciphered == BATCHES * 220);
    for (int i = 0; i < BATCHES; i++) {
        batch_reset(&batch);
        put(GREEDY, 100, 0);
        put(MODEST, 50, 0);
        put(GREEDY, 70, 0);
        run(true);
        CHECK(live(100, 50) == 50);                     /* the other loses none */
        CHECK(live(0, 100) == 0 && live(150, 70) == 50); /* as much as the other, the newest */
        CHECK(!batch.packet[169].live && batch.packet[170].live);
    }
    CHECK(shared() == BATCHES * 120);
    CHECK(ciphered == BATCHES * (220 + 100)); /* dropped before the cipher */
    plane_free(plane);
}

static void whoever_is_alone_gives_way_to_nobody(void)
{
    start();
    for (int i = 0; i < BATCHES; i++) {
        batch_reset(&batch);
        put(GREEDY, 200, 0);
        run(true);
    }
    CHECK(shared() == 0);
    batch_reset(&batch); /* somebody comes: his packets go before those of the other at once */
    put(MODEST, 1, 0);
    run(false);
    batch_reset(&batch);
    put(GREEDY, 200, 0);
    run(true);
    CHECK(shared() == 175 && live(0, 200) == 25); /* an eighth is left */
    batch.now += 3 * WG_SECOND; /* and is gone again */
    for (int i = 0; i < 3; i++) {
        batch_reset(&batch);
        put(GREEDY, 200, 0);
        run(true);
    }
    CHECK(shared() == 175);
    for (int i = 0; i < 100; i++) { /* nor from second to second */
        batch.now += WG_SECOND / 10;
        batch_reset(&batch);
        put(GREEDY, 200, 0);
        run(true);
    }
    CHECK(shared() == 175);
    plane_free(plane);
}

/* Handshakes and garbage crowd the source, not the peer who is heard most. */
static void a_flood_of_strangers_makes_nobody_greedy(void)
{
    start();
    for (int i = 0; i < BATCHES; i++) {
        batch.now += WG_SECOND / 20;
        batch_reset(&batch);
        put(GREEDY, 20, 0);
        put(MODEST, 1, 0);
        for (int n = 0; n < 200; n++)
            memset(batch.bytes + batch_append(&batch, WG_INITIATION_LEN)->off, 0xff, WG_INITIATION_LEN);
        run(i > 0);
        CHECK(live(0, 21) == 21);
    }
    CHECK(shared() == 0);
    plane_free(plane);
}

/* Whoever saw a peer's receiver index on the wire floods with it. */
static void forged_packets_make_nobody_greedy(void)
{
    start();
    for (int i = 0; i < BATCHES; i++) {
        batch_reset(&batch);
        put(GREEDY, 30, 0); /* more than the other, and it would be greedy */
        put(MODEST, 10, 0);
        put(GREEDY, 180, FORGED);
        run(i > 0);
        CHECK(live(0, 40) == 40);
    }
    CHECK(shared() == 0 && counted(&batch.drops[WG_DROP_bad_tag]) == BATCHES * 180);
    plane_free(plane);
}

/* Equal peers are never all greedy, though the sum lacks a little of what they did. */
static void equal_peers_give_way_to_nobody(void)
{
    start();
    for (int i = 0; i < BATCHES; i++) {
        batch_reset(&batch);
        for (int n = 0; n < 100; n++) {
            put(GREEDY, 1, 0);
            put(MODEST, 1, 0);
        }
        run(true);
        CHECK(live(0, 200) == 200);
        plane->share.work.now -= 200 * (LEN + WG_PACKET_COST) / 8;
    }
    CHECK(shared() == 0);
    plane_free(plane);
}

enum { PERIODS = 500, SPINS = 20000 };
static _Atomic uint32_t arrived; /* both threads come to every period, and leave it, together */

static void meet(uint32_t times)
{
    atomic_fetch_add(&arrived, 1);
    for (uint32_t spins = 0; atomic_load(&arrived) < 2 * times; spins++)
        if (spins % SPINS == SPINS - 1)
            sched_yield();
}

static void *hear_of_a_peer(void *counts)
{
    for (uint32_t i = 1; i <= PERIODS; i++) {
        meet(2 * i - 1);
        share_charge(plane, GREEDY - 1, LEN, 1, 2 * i * WG_PRESENT_PERIOD);
        meet(2 * i);
        if (counts)
            CHECK(plane->share.peers.now == 1);
    }
    return NULL;
}

/* Else every peer of a group would seem to have more than its part. */
static void threads_count_a_peer_once(void)
{
    pthread_t other;
    start();
    CHECK(pthread_create(&other, NULL, hear_of_a_peer, NULL) == 0);
    hear_of_a_peer(plane);
    pthread_join(other, NULL);
    plane_free(plane);
}

/* From a queue of which three quarters are one peer's, through the pump. */
static void pump_notices_that_its_source_is_crowded(void)
{
    static struct wg_port_mem from, to;
    static struct wg_pump pump;
    static uint8_t message[LEN];
    start();
    CHECK(port_mem_init(&from, false, false) == 0 && port_mem_init(&to, false, true) == 0);
    CHECK(pump_init(&pump, &from.port, &stage.base.stage, &to.port) == 0);
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < WG_MEM_SLOTS; i++) {
            uint8_t peer = i % 4 ? GREEDY : MODEST;
            const struct wg_endpoint e = {.family = 4, .port = peer, .addr = {192, 0, 2, peer}};
            write_message(message, peer, 0);
            CHECK(port_mem_put(&from, message, LEN, 0, &e));
        }
        while (pump_step(&pump, batch.now) > 0)
            batch.now += WG_SECOND / 1000;
    }
    uint64_t dropped = counted(&pump.batch.drops[WG_DROP_peer_share]);
    CHECK(dropped > WG_MEM_SLOTS && dropped < 2 * WG_MEM_SLOTS);
    CHECK(plane->peer[MODEST - 1].rx_packets == WG_MEM_SLOTS); /* none of the other's */
    CHECK(plane->peer[GREEDY - 1].rx_packets == 3 * WG_MEM_SLOTS - dropped);
    CHECK(counted(&to.port.packets_out) == 4 * WG_MEM_SLOTS - dropped);
    pump_free(&pump);
    port_mem_free(&from);
    port_mem_free(&to);
    plane_free(plane);
}

int main(void)
{
    only_under_pressure_and_only_the_greedy();
    whoever_is_alone_gives_way_to_nobody();
    forged_packets_make_nobody_greedy();
    a_flood_of_strangers_makes_nobody_greedy();
    equal_peers_give_way_to_nobody();
    threads_count_a_peer_once();
    pump_notices_that_its_source_is_crowded();
    return 0;
}
