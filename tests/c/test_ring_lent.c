/* Rings whose memory a batch is received into or sent out of, without a copy. */
#include "ring_pair.h"

enum { LARGE = 2 << 20 };

static void a_batch_received_into_the_arena_is_not_copied(void)
{
    struct pair *p = new_pair(LARGE, true);
    CHECK(!borrow(p)); /* nobody attached */
    join(p);
    for (uint32_t turn = 0; turn < 50; turn++) {
        const uint8_t *place[40];
        CHECK(borrow(p));
        from_endpoint(p->sent, 1);
        from_endpoint(p->sent, 2);
        for (uint8_t k = 0; k < 40; k++) {
            place[k] = memset(queue(p->sent, 1000u + k), (int)(turn + k), 1000u + k);
            CHECK(place[k] > p->producer && place[k] + 1000 + k < p->producer + LARGE);
            p->sent->packet[k].ep = k / 15 % 2;
            p->sent->packet[k].live = k % 7 != 3;
        }
        send_all(p);
        p->in.port.in_place = turn % 2;
        CHECK(receive(p) == 34 && p->got->endpoints == 3);
        for (uint32_t k = 0, i = 0; k < 40; k++) {
            if (k % 7 == 3)
                continue;
            const struct wg_packet *q = &p->got->packet[i++];
            const uint8_t *bytes = p->got->bytes + q->off;
            CHECK(q->len == 1000 + k && (bytes == place[k]) == p->in.port.in_place);
            CHECK(bytes[0] == (uint8_t)(turn + k) && bytes[999 + k] == bytes[0]);
            CHECK(p->got->endpoint[q->ep].addr[3] == 1 + k / 15 % 2);
        }
        p->in.port.release(&p->in.port);
    }
    CHECK(p->in.bad_record == 0 && p->out.waits == 0);
    free_pair(p);
}

static void lent_memory_is_not_lent_again_before_it_was_consumed(void)
{
    struct pair *p = new_pair(LARGE, false);
    join(p);
    for (uint32_t turn = 0, sent = 0, got = 0; turn < 30; turn++) {
        while (borrow(p)) {
            for (int k = 0; k < 3; k++)
                memset(queue(p->sent, 20000), (int)sent++, 20000);
            send_all(p);
        }
        CHECK(sent - got > 30);
        while (receive(p))
            for (uint32_t i = 0; i < p->got->n; i++, got++)
                for (uint32_t k = 0; k < 20000; k++)
                    CHECK(p->got->bytes[p->got->packet[i].off + k] == (uint8_t)got);
        CHECK(got == sent);
    }
    free_pair(p);
}

static void an_epoch_that_ends_takes_lent_batches_with_it(void)
{
    struct pair *p = new_pair(LARGE, false);
    join(p);
    CHECK(borrow(p));
    memset(queue(p->sent, 500), 0xee, 500);
    start_consumer(p, false);
    send_all(p);
    CHECK(p->sent->drops[WG_DROP_ring_detached] == 1);
    join(p);
    send_one(p, 100, 7);
    expect_one(p, 100, 7);
    free_pair(p);
}

static void a_consumer_in_place_gives_memory_back_when_it_is_done(void)
{
    struct pair *p = new_pair(LARGE, false);
    join(p);
    p->in.port.in_place = true;
    send_one(p, 60000, 1);
    expect_one(p, 60000, 1);
    CHECK(word(p->consumer, RING_C_TAIL) == 0);
    const uint8_t *held = p->got->bytes + p->got->packet[0].off;
    p->out.stuck = true; /* spare the waits */
    for (int i = 0; i < 100; i++)
        send_one(p, 60000, 2);
    CHECK(p->sent->drops[WG_DROP_queue_full] > 60);
    for (uint32_t i = 0; i < 60000; i++)
        CHECK(held[i] == 1);
    p->in.port.release(&p->in.port);
    CHECK(word(p->consumer, RING_C_TAIL) == 1);
    free_pair(p);
}

int main(void)
{
    a_batch_received_into_the_arena_is_not_copied();
    lent_memory_is_not_lent_again_before_it_was_consumed();
    an_epoch_that_ends_takes_lent_batches_with_it();
    a_consumer_in_place_gives_memory_back_when_it_is_done();
    return 0;
}
