/* Rings, one thread: whatever stood in the shared words, a ring lives again when both sides
 * are honest, without a restart (A6, F2). tests/ring/attach.pml is the model. */
#include "ring_pair.h"

enum { SMALL = 256 * 1024 };

static void pass(struct pair *p, uint32_t ms)
{
    p->in.patience.since -= ms;
    p->out.patience.since -= ms;
}

/* A turn of both pumps in which nothing came and nothing rang. */
static void idle(struct pair *p)
{
    receive(p);
    p->in.port.may_sleep(&p->in.port);
    p->out.port.service(&p->out.port);
}

/* Both sides are honest again: does a packet pass, at the latest when both have said anew
 * what was not answered? */
static void recovers(struct pair *p)
{
    for (uint32_t i = 0; i < 12; i++) {
        pass(p, 8000);
        idle(p);
    }
    uint32_t lost = 0;
    for (bool came = false; !came; lost++) { /* a lie about the head is found by the next packet */
        CHECK(lost < 3);
        send_one(p, 100, 7);
        came = receive(p) == 1 && p->got->packet[0].len == 100 && p->got->bytes[p->got->packet[0].off] == 7;
        for (uint32_t i = 0; !came && i < 12; i++) {
            pass(p, 8000);
            idle(p);
        }
    }
    send_one(p, 100, 8);
    expect_one(p, 100, 8);
}

static void whatever_stood_in_the_shared_words_the_ring_lives_again(void)
{
    const uint32_t producers[] = {RING_P_MAGIC, RING_P_VERSION, RING_P_DESCRIPTORS, RING_P_ARENA_SIZE, RING_P_EPOCH,
                                  RING_P_REQUEST_SEEN, RING_P_HEAD, RING_P_SPACE_WANTED};
    const uint32_t consumers[] = {RING_C_REQUEST, RING_C_ACKNOWLEDGED, RING_C_TAIL, RING_C_SLEEPING};
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t turn = 0; turn < 20000; turn++) {
        for (uint32_t n = 1 + rnd(4); n; n--) {
            uint32_t value = rnd(3) ? rnd(UINT32_MAX) : rnd(2) ? rnd(300) : p->out.head + rnd(20) - 10;
            if (rnd(2))
                poke(p->producer, producers[rnd(8)], value);
            else
                poke(p->consumer, consumers[rnd(4)], value);
            if (rnd(2)) {
                p->out.stuck = true; /* spare the wait */
                send_one(p, 1 + rnd(2000), 1);
            }
            if (rnd(2))
                receive(p);
            if (rnd(2))
                p->out.port.service(&p->out.port);
        }
        p->out.stuck = true;
        recovers(p);
    }
    free_pair(p);
}

/* As a producer that was taken over for a moment: the wrong geometry, or a wrong epoch, in
 * answer to a request, and then nothing more. */
static void a_wrong_answer_is_not_the_last_word(void)
{
    const uint32_t field[] = {RING_P_MAGIC, RING_P_ARENA_SIZE, RING_P_EPOCH, RING_P_REQUEST_SEEN};
    for (uint32_t i = 0; i < 4; i++) {
        struct pair *p = new_pair(SMALL, false);
        p->out.port.service(&p->out.port);
        poke(p->producer, field[i], 0x55555555);
        idle(p);
        send_one(p, 100, 1);
        CHECK(receive(p) == 0);
        pass(p, 500); /* and what this program takes itself, which under emulation is milliseconds */
        uint32_t request = word(p->consumer, RING_C_REQUEST), epoch = p->out.epoch;
        idle(p);
        CHECK(word(p->consumer, RING_C_REQUEST) == request && p->out.epoch == epoch);
        for (uint32_t turn = 0; turn < 3; turn++) {
            pass(p, 2000);
            idle(p);
        }
        CHECK(word(p->consumer, RING_C_REQUEST) != request || p->out.epoch != epoch);
        send_one(p, 100, 2);
        expect_one(p, 100, 2);
        free_pair(p);
    }
}

/* It says that the ring is full, and nothing is there to be consumed that would correct it. */
static void a_tail_that_was_written_over_is_said_again(void)
{
    struct pair *p = new_pair(SMALL, false);
    join(p);
    for (uint32_t i = 0; i < 1100; i++) {
        send_one(p, 100, (uint8_t)i);
        expect_one(p, 100, (uint8_t)i);
    }
    poke(p->consumer, RING_C_TAIL, p->out.head - 1024);
    p->out.stuck = true; /* spare the wait */
    send_one(p, 100, 1);
    CHECK(receive(p) == 0 && p->sent->drops[WG_DROP_queue_full] == 1);
    idle(p);
    send_one(p, 100, 2);
    expect_one(p, 100, 2);
    CHECK(p->in.end.attaches == 1);
    free_pair(p);
}

/* Less and less often, so that a slow neighbour's answer is still valid when it comes. */
static void nobody_is_asked_ever_more_slowly(void)
{
    struct pair *p = new_pair(SMALL, false);
    uint32_t asked = 0, request = word(p->consumer, RING_C_REQUEST);
    for (uint32_t ms = 0; ms < 60000; ms += 100) {
        pass(p, 100);
        receive(p);
        asked += word(p->consumer, RING_C_REQUEST) != request;
        request = word(p->consumer, RING_C_REQUEST);
    }
    CHECK(asked >= 8 && asked <= 10);
    free_pair(p);
}

int main(void)
{
    whatever_stood_in_the_shared_words_the_ring_lives_again();
    a_wrong_answer_is_not_the_last_word();
    a_tail_that_was_written_over_is_said_again();
    nobody_is_asked_ever_more_slowly();
    return 0;
}
