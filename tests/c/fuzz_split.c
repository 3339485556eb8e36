/* Invariant (check_split in split_model.h), for any virtio header and any bytes:
 * - split ends, reads nothing behind the packet and writes nothing outside the batch;
 * - either one drop is counted and nothing placed, or every payload byte comes out
 *   once and in order in well-formed segments;
 * - if the input carried the right pseudo-header sum, every segment's checksum is right.
 * Input: a mode byte, 10 bytes of virtio header, the packet. Mode bits repair what
 * random bytes seldom get right: 1 the IP total length, 2 the virtio header's idea of
 * the transport header, 4 the pseudo-header sum, 8 repeat the payload to make it long. */
#include "fuzz.h"
#include "split_model.h"

static struct wg_batch *b;

static uint32_t grow(uint8_t *p, uint32_t len, uint32_t want)
{
    uint32_t from = len / 2;
    for (uint32_t i = len; i < want && len > from; i++)
        p[i] = p[from + (i - from) % (len - from)];
    return len > from ? want : len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t raw[65600];
    struct input in = {data, size};
    struct wg_split s = {0};
    uint8_t mode = take(&in);
    uint32_t len, l4 = 0;
    uint8_t proto = 0;
    if (!b)
        b = batch_make();
    take_bytes(&in, (uint8_t *)&s.h, VNET_LEN);
    len = in.left < 4096 ? (uint32_t)in.left : 4096;
    take_bytes(&in, raw, len);
    if (mode & 8 && len >= 20)
        len = grow(raw, len, 4000u + (mode & 0xf0u) * 256u);
    if (len >= 40) {
        bool v4 = raw[0] >> 4 == 4;
        l4 = v4 ? (raw[0] & 15u) * 4 : 40;
        proto = raw[v4 ? 9 : 6];
        if (mode & 1)
            put_be16(raw + (v4 ? 2 : 4), (uint16_t)(v4 ? len : len - 40));
        if (mode & 2) {
            s.h.flags |= VNET_NEEDS_CSUM;
            s.h.csum_start = (uint16_t)l4;
            s.h.csum_offset = proto == TCP ? 16 : 6;
        }
    }
    bool right = mode & 4 && l4 >= 20 && l4 + 20 <= len && (proto == TCP || proto == UDP) && len <= 65535;
    if (right)
        seed_checksum(raw, len, l4, proto);
    uint8_t *p = malloc(len ? len : 1);
    memcpy(p, raw, len);
    s.packet = p;
    s.len = len;
    check_split(&s, b, right);
    free(p);
    return 0;
}
