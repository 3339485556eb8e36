/* Invariant (check_merge in merge_model.h), for any batch of packets:
 * - every live packet is in exactly one output, in order; no packet of a flow leaves in
 *   an earlier output than one that came before it;
 * - every output of several packets has right headers, and splits back into packets
 *   equal to those it was made of (all of which had right checksums);
 * - a packet alone leaves untouched, with an all-zero virtio header;
 * - the grouping is that of the naive merge, unless raw packets may have made flows that
 *   share a slot of the flow table.
 * Input: `what`, then packets: a kind byte; for built packets a fault byte with its
 * argument; for raw ones a length and bytes. */
#include "fuzz.h"
#include "merge_model.h"

struct flow {
    uint32_t seq;
    uint16_t id;
};

static struct spec built(struct input *in, uint8_t kind, struct flow *f)
{
    struct spec s = kind % 4 == 0 ? TCP4() : kind % 4 == 1 ? TCP6() : kind % 4 == 2 ? UDP4() : UDP6();
    uint8_t fault = take(in), arg = fault & 0xf0 ? take(in) : 0;
    s.flow = kind % 4;
    s.seq = f->seq;
    s.id = f->id;
    s.payload = kind & 4 ? 1200 : 24;
    switch (fault >> 4) {
    case 1: s.payload = arg; break;
    case 2: s.flags = arg; break;
    case 3: s.ttl = arg; break;
    case 4: s.tos = arg; break;
    case 5: s.seq += arg; break;
    case 6: s.id = (uint16_t)(s.id + arg - 128); break;
    case 7: s.ack = arg; break;
    case 8: s.window = arg; break;
    case 9: s.options = arg % 11; break;
    case 10: s.fragment = (uint16_t)(arg << 8); break;
    case 11: s.payload = (uint16_t)(arg * 256u); break;
    case 12: s.flags |= PSH; break;
    default: break;
    }
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wg_batch *b;
    struct input in = {data, size};
    struct flow flow[4] = {{0}};
    bool exact = true;
    if (!b)
        b = batch_make();
    batch_reset(b);
    unsigned what = take(&in) & 3;
    while (in.left && b->n < 100) {
        uint8_t kind = take(&in), *p;
        uint32_t len;
        if (kind < 0xe0) {
            struct flow *f = &flow[kind % 4];
            struct spec s = built(&in, kind, f);
            len = spec_len(&s);
            if (!batch_has_room(b, 1, len))
                break;
            p = add(b, s);
            f->seq = s.seq + s.payload;
            f->id = (uint16_t)(s.id + 1);
            b->packet[b->n - 1].live = !(kind & 0x10) || kind & 0x20;
            if ((kind & 0xc8) == 0xc8)
                p[(take(&in) | (uint32_t)take(&in) << 8) % len] ^= 1, exact = false;
        } else {
            len = take(&in);
            p = b->bytes + batch_append(b, len)->off;
            take_bytes(&in, p, len);
            exact = false;
        }
    }
    check_merge(b, what, exact);
    return 0;
}
