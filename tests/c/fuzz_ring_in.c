/* Invariant: whatever a producer writes, at whatever moment, the consumer stays inside
 * the producer's area and its own batch, ends, gives only packets within bounds, and each
 * batch of at most 256 records either hands packets on, counts bad ones, or waits.
 * Input: flags, then operations: code, and for writes a place and a value. */
#include "fuzz.h"
#include "ring_pair.h"

static uint32_t place(struct input *in, uint32_t size)
{
    static const uint32_t header[] = {RING_P_MAGIC, RING_P_ARENA_SIZE, RING_P_EPOCH, RING_P_REQUEST_SEEN,
                                      RING_P_HEAD, RING_P_HEAD, RING_P_SPACE_WANTED, RING_ARENA};
    uint8_t what = take(in);
    if (what < 64)
        return header[what % 8];
    if (what < 160)
        return RING_DESCRIPTOR_TABLE + what % 4 * RING_DESCRIPTOR_SIZE + what / 4 % 8 * 4;
    if (what < 224)
        return RING_ARENA + what % 64 * 4;
    return (take(in) | (uint32_t)take(in) << 8 | (uint32_t)take(in) << 16) % (size / 4) * 4;
}

static uint32_t value(struct input *in, const struct pair *p, uint32_t at)
{
    uint8_t how = take(in);
    switch (how & 7) {
    case 0: return take(in);
    case 1: return word(p->producer, at) + 1;
    case 2: return p->in.tail + take(in);
    case 3: return p->in.request;
    case 4: return p->in.end.arena_size - take(in);
    case 5: return (uint32_t)take(in) << (how >> 3);
    case 6: return take(in) | (uint32_t)take(in) << 8;
    default: return take(in) * 16843009u;
    }
}

static void check_receive(struct pair *p)
{
    uint64_t bad = p->in.bad_record + p->in.bad_index;
    uint32_t tail = p->in.tail;
    receive(p);
    uint32_t bytes = 0;
    bool in_place = p->in.port.in_place;
    for (uint32_t i = 0; i < p->got->n; i++) {
        const struct wg_packet *q = &p->got->packet[i];
        CHECK(q->len <= WG_PACKET_MAX);
        if (in_place)
            CHECK(q->off <= p->in.end.arena_size && q->len <= p->in.end.arena_size - q->off);
        else
            CHECK(q->off + q->len + WG_TAILROOM <= WG_BATCH_BYTES && q->off >= WG_HEADROOM);
        CHECK(p->in.end.datagrams ? q->ep < p->got->endpoints : p->got->endpoints == 0);
        bytes += q->len;
    }
    for (uint32_t i = 0; i < p->got->endpoints; i++)
        CHECK((p->got->endpoint[i].family == 4 || p->got->endpoint[i].family == 6) && p->got->endpoint[i].source <= 1);
    CHECK(p->got->n || bytes == 0);
    CHECK(!in_place || !p->got->n || p->got->bytes == p->producer + RING_ARENA);
    if (in_place)
        p->in.port.release(&p->in.port);
    CHECK(p->in.tail == 0 || p->in.tail == tail || p->got->n || p->in.bad_record + p->in.bad_index > bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pair *p;
    struct input in = {data, size};
    if (!p)
        p = new_pair(512 * 1024, true);
    uint8_t flags = take(&in);
    memset(p->producer, 0, RING_ARENA + 4096);
    memset(p->consumer, 0, RING_CONSUMER_SIZE);
    p->starts = 0;
    start_producer(p, flags & 1);
    start_consumer(p, flags & 2);
    p->in.port.in_place = flags & 8;
    if (flags & 4)
        join(p);
    while (in.left) {
        uint8_t code = take(&in);
        if (code < 160) {
            uint32_t at = place(&in, (uint32_t)p->size);
            poke(p->producer, at, value(&in, p, at));
        } else if (code < 220) {
            check_receive(p);
        } else if (code < 235) {
            p->in.port.may_sleep(&p->in.port);
        } else {
            if (flags & 16)
                borrow(p);
            from_endpoint(p->sent, code);
            queue(p->sent, take(&in) * 8u);
            queue(p->sent, take(&in) * 256u);
            p->out.stuck = true;
            send_all(p);
        }
    }
    check_receive(p);
    return 0;
}
