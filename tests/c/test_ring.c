/* Rings, one thread: what crosses them, what stops them, what restarts do, and every bad
 * value a neighbour may write (A6). */
#define _GNU_SOURCE
#include "ring_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 256 * 1024, D = RING_DESCRIPTOR_TABLE };

static uint64_t ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void trains_keep_endpoint_tos_and_order(void)
{
    struct pair *p = new_pair(SMALL, true);
    join(p);
    for (uint8_t e = 0; e < 3; e++) {
        from_endpoint(p->sent, e);
        for (uint8_t k = 0; k < 5; k++) {
            queue(p->sent, 100u + k)[0] = (uint8_t)(e * 16 + k);
            struct wg_packet *q = &p->sent->packet[p->sent->n - 1];
            q->ep = e;
            q->tos = k < 3 ? 0x10 : 0x20;
            q->live = k != 1;
        }
    }
    send_all(p);
    CHECK(word(p->producer, RING_P_HEAD) == 6); /* three endpoints, two DS fields each */
    CHECK(receive(p) == 12);
    for (uint32_t i = 0; i < 12; i++) {
        const struct wg_packet *q = &p->got->packet[i];
        uint8_t e = (uint8_t)(i / 4), k = (uint8_t)(i % 4 + (i % 4 > 0));
        CHECK(p->got->bytes[q->off] == e * 16 + k && q->len == 100u + k && q->live);
        CHECK(q->tos == (k < 3 ? 0x10 : 0x20));
        CHECK(p->got->endpoint[q->ep].addr[3] == e && p->got->endpoint[q->ep].port == 51820);
    }
    free_pair(p);
}

/* F6: otherwise red would choose the address that crypto's datagrams leave to. */
static void a_ring_of_packets_carries_no_endpoint(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    from_endpoint(p->sent, 9);
    send_one(p, 60, 1);
    CHECK(word(p->producer, D + RING_D_ENDPOINT) == 0);
    poke(p->producer, D + RING_D_ENDPOINT, 4);
    expect_one(p, 60, 1);
    CHECK(p->got->endpoints == 0 && p->in.bad_record == 0);
    free_pair(p);
}

static void a_large_record_fits_an_empty_small_ring_wherever_it_stands(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint64_t at = 0; at < 2 * SMALL; at += 4160) {
        p->out.place = at;
        queue(p->sent, 65000);
        queue(p->sent, 65000);
        send_all(p);
        CHECK(receive(p) == 2);
    }
    CHECK(p->sent->drops[WG_DROP_queue_full] == 0 && p->out.waits == 0);
    free_pair(p);
}

static void a_full_ring_is_waited_for_once_then_costs_nothing_until_it_moves(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    uint64_t start = ms();
    for (int i = 0; i < 1400; i++)
        send_one(p, 100, 1);
    CHECK(p->out.waits == 1 && p->sent->drops[WG_DROP_queue_full] == 1400 - 1024);
    CHECK(ms() - start < 2000);
    for (int i = 0; i < 1024; i += WG_BATCH_PACKETS)
        CHECK(receive(p) == WG_BATCH_PACKETS);
    for (int i = 0; i < 1024; i++)
        send_one(p, 100, 1);
    CHECK(p->sent->drops[WG_DROP_queue_full] == 1400 - 1024);
    send_one(p, 100, 1); /* full again after progress: worth a wait again */
    CHECK(p->out.waits == 2);
    free_pair(p);
}

static void nobody_there_is_counted_without_waiting(void)
{
    struct pair *p = new_pair(SMALL, false);
    memset(p->consumer, 0, RING_CONSUMER_SIZE);
    for (int i = 0; i < 100; i++)
        send_one(p, 100, 1);
    CHECK(p->sent->drops[WG_DROP_ring_detached] == 100 && p->out.waits == 0);
    free_pair(p);
}

static void indices_wrap(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    p->out.head = p->in.tail = UINT32_MAX - 100;
    p->out.place = (UINT64_C(1) << 40) + 4096;
    poke(p->producer, RING_P_HEAD, p->out.head);
    poke(p->consumer, RING_C_TAIL, p->in.tail);
    for (uint32_t i = 0; i < 300; i++) {
        send_one(p, 1000, (uint8_t)i);
        expect_one(p, 1000, (uint8_t)i);
    }
    CHECK(p->out.head == 199 && p->in.bad_index == 0 && p->in.end.attaches == 1);
    free_pair(p);
}

static void restarts_attach_anew_and_nothing_old_arrives(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t turn = 0; turn < 60; turn++) {
        send_one(p, 500, 0xee); /* never read */
        if (turn % 3 != 0)
            start_producer(p, false);
        if (turn % 3 != 1)
            start_consumer(p, false);
        if (turn % 3 == 2 && turn & 1)
            p->out.port.service(&p->out.port);
        else
            CHECK(receive(p) == 0);
        join(p);
        CHECK(receive(p) == 0);
        send_one(p, 100, (uint8_t)turn);
        expect_one(p, 100, (uint8_t)turn);
    }
    CHECK(p->in.bad_index == 0 && p->in.bad_record == 0);
    free_pair(p);
}

/* A start that draws the numbers of the life before it must still be noticed. */
static void equal_seeds_do_not_confuse(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (int i = 0; i < 10; i++) {
        uint32_t attaches = (uint32_t)p->in.end.attaches;
        send_one(p, 64, 1);
        expect_one(p, 64, 1);
        p->starts = (uint32_t)i; /* seeds of the life before */
        start_producer(p, false);
        join(p);
        CHECK(p->in.end.attaches == attaches + 1 && p->in.bad_index == 0);
        send_one(p, 64, 2);
        expect_one(p, 64, 2);
        send_one(p, 500, 0xee); /* never read */
        p->starts = (uint32_t)i + 1;
        start_consumer(p, false);
        CHECK(receive(p) == 0);
        join(p);
        CHECK(receive(p) == 0 && p->in.bad_index == 0);
        send_one(p, 64, 3);
        expect_one(p, 64, 3);
        p->starts = (uint32_t)i;
        start_producer(p, false);
        p->starts++;
        start_consumer(p, false);
        join(p);
    }
    free_pair(p);
}

static void bad_descriptors_are_counted_drops(void)
{
    const uint32_t arena = (SMALL - RING_ARENA) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    const struct { uint32_t field, value; } bad[] = {
        {RING_D_PACKETS, 0}, {RING_D_PACKETS, 257}, {RING_D_PACKETS, UINT32_MAX}, {RING_D_PACKETS, 0x40000001},
        {RING_D_TABLE, arena}, {RING_D_TABLE, arena - 4}, {RING_D_TABLE, UINT32_MAX - 63},
        {RING_D_ENDPOINT, 0}, {RING_D_ENDPOINT, 5},
    };
    struct pair *p = new_pair(SMALL, true);
    join(p);
    uint32_t n = sizeof bad / sizeof *bad;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = D + p->out.head % RING_DESCRIPTORS * RING_DESCRIPTOR_SIZE;
        from_endpoint(p->sent, 1);
        send_one(p, 100, 1);
        poke(p->producer, slot + bad[i].field, bad[i].value);
        CHECK(receive(p) == 0 && p->in.bad_record == i + 1 && p->got->drops[WG_DROP_ring_record] == i + 1);
        from_endpoint(p->sent, 1);
        send_one(p, 100, 2);
        expect_one(p, 100, 2);
    }
    CHECK(p->in.end.attaches == 1 && p->in.bad_index == 0);
    free_pair(p);
}

static void bad_places_and_lengths_are_counted_drops(void)
{
    const uint32_t arena = (SMALL - RING_ARENA) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    const struct { uint32_t word, value; } bad[] = {
        {4, 65536}, {4, UINT32_MAX}, {4, 0x80000000},
        {0, arena - 99}, {0, arena + 1}, {0, UINT32_MAX}, {0, UINT32_MAX - 99},
    };
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t at = RING_ARENA + (uint32_t)(p->out.place % p->out.end.arena_size);
        send_one(p, 100, 1);
        poke(p->producer, at + bad[i].word, bad[i].value);
        CHECK(receive(p) == 0 && p->in.bad_record == i + 1);
        send_one(p, 100, 2);
        expect_one(p, 100, 2);
    }
    free_pair(p);
}

static void a_bad_head_makes_the_consumer_ask_anew(void)
{
    const uint32_t bad[] = {5000, UINT32_MAX, 1026, 0x80000000};
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t i = 0; i < 4; i++) {
        send_one(p, 100, 1);
        expect_one(p, 100, 1);
        poke(p->producer, RING_P_HEAD, bad[i]);
        CHECK(receive(p) == 0 && p->in.bad_index == i + 1);
        CHECK(receive(p) == 0 && p->in.bad_index == i + 1);
        join(p);
        CHECK(p->in.end.attaches == i + 2);
    }
    free_pair(p);
}

static void another_geometry_is_refused_until_it_is_right(void)
{
    const uint32_t field[] = {RING_P_MAGIC, RING_P_VERSION, RING_P_DESCRIPTORS, RING_P_ARENA_SIZE};
    for (uint32_t i = 0; i < 4; i++) {
        struct pair *p = new_pair(SMALL, false);
        uint32_t right = word(p->producer, field[i]);
        p->out.port.service(&p->out.port); /* which writes all of its answer */
        poke(p->producer, field[i], right * 2);
        join(p);
        CHECK(p->in.bad_index == 1 && p->in.end.attaches == 0 && word(p->consumer, RING_C_ACKNOWLEDGED) == 0);
        send_one(p, 100, 1);
        CHECK(p->sent->drops[WG_DROP_ring_detached] == 1);
        poke(p->producer, field[i], right);
        join(p);
        send_one(p, 100, 2);
        expect_one(p, 100, 2);
        free_pair(p);
    }
}

static void a_lying_tail_frees_nothing_that_was_not_published(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t i = 0; i < 2000; i++) {
        poke(p->consumer, RING_C_TAIL, i % 2 ? p->out.head + 1 + rnd(1000) : p->out.head - rnd(300));
        p->out.stuck = true; /* spare the waits */
        for (int k = 0; k < 3; k++)
            queue(p->sent, 1 + rnd(40000));
        send_all(p);
        CHECK(p->out.place % RING_RECORD_ALIGN == 0);
    }
    CHECK(p->sent->drops[WG_DROP_queue_full] + p->sent->drops[WG_DROP_ring_detached] >= 1000);
    free_pair(p);
}

static void oversized_packets_and_memory(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    queue(p->sent, 66000);
    send_one(p, 100, 1);
    CHECK(p->sent->drops[WG_DROP_too_big] == 1);
    expect_one(p, 100, 1);
    const size_t sizes[] = {0, 4096, RING_SIZE_MIN - 1, (size_t)RING_SIZE_MAX + 1};
    struct wg_ring_options o = {.seed = 1};
    for (int i = 0; i < 4; i++) {
        CHECK(ring_out_init(&p->out, p->producer, sizes[i], p->consumer, p->data, p->space, o) == -EINVAL);
        CHECK(ring_in_init(&p->in, p->consumer, p->producer, sizes[i], p->data, p->space, o) == -EINVAL);
    }
    CHECK(ring_out_init(&p->out, p->producer + 4, SMALL, p->consumer, p->data, p->space, o) == -EINVAL);
    free_pair(p);
}

/* A table at the very end of the mapped memory that would reach beyond it. */
static void a_record_at_the_end_is_not_read_past_it(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    uint32_t slot = D + p->out.head % RING_DESCRIPTORS * RING_DESCRIPTOR_SIZE;
    send_one(p, 100, 1);
    poke(p->producer, slot + RING_D_TABLE, p->out.end.arena_size - 64);
    poke(p->producer, slot + RING_D_PACKETS, 256);
    CHECK(RING_ARENA + p->out.end.arena_size == p->size && receive(p) == 0 && p->in.bad_record == 1);
    free_pair(p);
}

static bool rings(int fd)
{
    struct pollfd f = {.fd = fd, .events = POLLIN};
    uint8_t drained[512];
    return poll(&f, 1, 0) == 1 && read(fd, drained, sizeof drained) > 0;
}

static void doorbells_ring_for_those_who_sleep(void)
{
    int data[2], space[2];
    struct pair *p = new_pair(SMALL, false);
    join(p);
    CHECK(pipe2(data, O_NONBLOCK) == 0 && pipe2(space, O_NONBLOCK) == 0);
    p->out.end.data.fd = data[1];
    p->in.end.data.fd = data[0];
    p->in.end.space.fd = space[1];
    send_one(p, 100, 1);
    CHECK(!rings(data[0]));
    CHECK(!p->in.port.may_sleep(&p->in.port)); /* something came after all */
    expect_one(p, 100, 1);
    CHECK(p->in.port.may_sleep(&p->in.port));
    send_one(p, 100, 2);
    CHECK(rings(data[0]) && !rings(space[0]));
    send_one(p, 100, 2);
    CHECK(receive(p) == 2);
    CHECK(!rings(data[0])); /* the second ring was heard with the first */
    poke(p->producer, RING_P_SPACE_WANTED, 1);
    send_one(p, 100, 3);
    expect_one(p, 100, 3);
    CHECK(rings(space[0]) && !rings(data[0]));
    free_pair(p);
    for (int i = 0; i < 2; i++)
        close(data[i]), close(space[i]);
}

/* A batch that a record does not fit keeps the record for the next. */
static void a_full_batch_leaves_the_rest(void)
{
    struct pair *p = new_pair(2 << 20, false);
    join(p);
    uint32_t sent = 0, got = 0;
    for (int i = 0; i < 200; i++, sent++)
        send_one(p, 9000, (uint8_t)i);
    while (receive(p))
        for (uint32_t i = 0; i < p->got->n; i++, got++)
            CHECK(p->got->bytes[p->got->packet[i].off] == (uint8_t)got);
    CHECK(got == sent);
    free_pair(p);
}

/* Ten times the same 60,000 bytes are inside the arena, and too much all the same. */
static void more_than_a_record_may_hold_is_a_counted_drop(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (int i = 0; i < 10; i++)
        queue(p->sent, 10);
    uint32_t at = RING_ARENA + (uint32_t)(p->out.place % p->out.end.arena_size);
    send_all(p);
    for (uint32_t i = 0; i < 10; i++) {
        poke(p->producer, at + 8 * i, 0);
        poke(p->producer, at + 8 * i + 4, 60000);
    }
    CHECK(receive(p) == 0 && p->in.bad_record == 1);
    free_pair(p);
}

int main(void)
{
    trains_keep_endpoint_tos_and_order();
    a_ring_of_packets_carries_no_endpoint();
    a_large_record_fits_an_empty_small_ring_wherever_it_stands();
    a_full_ring_is_waited_for_once_then_costs_nothing_until_it_moves();
    nobody_there_is_counted_without_waiting();
    indices_wrap();
    restarts_attach_anew_and_nothing_old_arrives();
    equal_seeds_do_not_confuse();
    bad_descriptors_are_counted_drops();
    bad_places_and_lengths_are_counted_drops();
    more_than_a_record_may_hold_is_a_counted_drop();
    a_bad_head_makes_the_consumer_ask_anew();
    another_geometry_is_refused_until_it_is_right();
    a_lying_tail_frees_nothing_that_was_not_published();
    oversized_packets_and_memory();
    a_full_batch_leaves_the_rest();
    a_record_at_the_end_is_not_read_past_it();
    doorbells_ring_for_those_who_sleep();
    return 0;
}
