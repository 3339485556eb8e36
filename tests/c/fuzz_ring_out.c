/* Invariant: whatever a consumer writes into its page, the producer stays inside its
 * area, sends or counts every packet, and waits for space at most once a batch and never
 * twice in vain.
 * Input: operations: code, and for writes a word and a value. */
#include "fuzz.h"
#include "ring_pair.h"

static uint32_t value(struct input *in, const struct pair *p)
{
    uint8_t how = take(in);
    switch (how & 7) {
    case 0: return take(in);
    case 1: return p->out.head - take(in);
    case 2: return p->out.head + take(in);
    case 3: case 4: return p->out.epoch;
    case 5: return p->out.request_seen + 1;
    default: return take(in) * 16843009u;
    }
}

static void check_send(struct pair *p, struct input *in, uint8_t code)
{
    uint32_t packets = 1 + code % 8, live = 0;
    uint64_t sent = p->out.port.packets_out, before = sent, waits = p->out.waits;
    uint64_t attaches = p->out.end.attaches;
    for (int i = 0; i < WG_DROP_COUNT; i++)
        before += p->sent->drops[i];
    p->out.stuck |= code < 252; /* waits take time */
    bool stuck = p->out.stuck;
    bool lent = code & 1 && borrow(p);
    CHECK(!lent || (p->sent->bytes >= p->producer + RING_ARENA &&
                    p->sent->bytes + WG_BATCH_BYTES <= p->producer + p->size));
    from_endpoint(p->sent, 1);
    from_endpoint(p->sent, 2);
    for (uint32_t i = 0; i < packets; i++) {
        uint8_t what = take(in);
        uint32_t len = what & 1 ? what * 120u : what;
        if (!batch_has_room(p->sent, 1, len))
            break;
        queue(p->sent, len);
        struct wg_packet *q = &p->sent->packet[p->sent->n - 1];
        q->ep = what & 2 ? 1 : 0;
        q->tos = what & 4;
        q->live = (what & 0x18) != 0x18;
        live += q->live;
    }
    send_all(p);
    uint64_t after = p->out.port.packets_out;
    for (int i = 0; i < WG_DROP_COUNT; i++)
        after += p->sent->drops[i];
    CHECK(after - before == live);
    CHECK(p->out.waits - waits <= 1);
    CHECK(p->out.waits == waits || !stuck || p->out.port.packets_out > sent || p->out.end.attaches > attaches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t words[] = {RING_C_REQUEST, RING_C_ACKNOWLEDGED, RING_C_TAIL, RING_C_SLEEPING};
    static struct pair *p;
    struct input in = {data, size};
    if (!p)
        p = new_pair(512 * 1024, true);
    memset(p->consumer, 0, RING_CONSUMER_SIZE);
    p->starts = 0;
    start_producer(p, true);
    start_consumer(p, true);
    join(p);
    while (in.left) {
        uint8_t code = take(&in);
        if (code < 100)
            poke(p->consumer, words[code % 4], value(&in, p));
        else if (code < 120)
            p->out.port.service(&p->out.port);
        else if (code < 150)
            receive(p);
        else
            check_send(p, &in, code);
    }
    return 0;
}
