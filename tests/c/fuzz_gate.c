/* Invariant, for any datagrams and the lengths of any suite: the gate passes what has the type and
 * the length of a message of that suite, and nothing else; it reads nothing behind a datagram; and
 * the open stage of the same suite calls none of what was passed malformed. */
#include "fuzz.h"
#include "one_plane.h"
#include "ports/gate.h"

static bool has_the_form(const struct wg_lengths *l, const uint8_t *d, uint32_t len)
{
    uint32_t exact[] = {0, l->initiation, l->response, l->cookie_reply};
    if (len < 4 || d[1] || d[2] || d[3] || !d[0] || d[0] > WG_TRANSPORT)
        return false;
    return d[0] == WG_TRANSPORT ? len >= l->overhead : len == exact[d[0]];
}

/* A length that a message has, or a byte beside it, or any. */
static uint32_t length(struct input *in, const struct wg_lengths *l)
{
    uint32_t near[] = {l->initiation, l->response, l->cookie_reply, l->overhead};
    uint8_t code = take(in);
    return code & 8 ? take(in) * 3u : near[code & 3] + (code >> 4 & 3) - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const struct wg_macs sizes = NULL_MACS(16 + take(&in) % 241u, 16 + take(&in) % 17u, 16, 12 + take(&in) % 21u);
    struct wg_aead aead = null_aead;
    static struct wg_gate gate;
    struct wg_port sink = {0};
    struct wg_open_stage *stage = calloc(1, sizeof *stage);
    struct wg_batch *b = calloc(1, sizeof *b);
    aead.tag_size = 12 + take(&in) % 21u;
    struct wg_plane *p = plane_new(1, 1, 1, &aead, &sizes);
    CHECK(stage && b && p);
    gate_init(&gate, (const uint64_t[2]){1, 2}, &sink, &p->lengths);
    open_stage_init(stage, p, 0);
    while (in.left && b->n < WG_BATCH_PACKETS) {
        uint32_t len = length(&in, &p->lengths);
        uint8_t *bytes = malloc(len ? len : 1), type[4] = {take(&in) % 6, take(&in) == 77, 0, 0};
        CHECK(bytes);
        memset(bytes, 0, len);
        memcpy(bytes, type, len < 4 ? len : 4);
        batch_reset(b);
        b->bytes = bytes;
        b->packet[b->n++] = (struct wg_packet){.len = len, .live = 1};
        b->endpoint[b->endpoints++] = (struct wg_endpoint){.family = 4, .port = 1};
        gate.stage.run(&gate.stage, b);
        CHECK(b->packet[0].live == has_the_form(&p->lengths, bytes, len));
        if (b->packet[0].live) {
            stage->base.stage.run(&stage->base.stage, b);
            CHECK(!b->packet[0].live && !counted(&b->drops[WG_DROP_malformed_message]));
        }
        free(bytes);
    }
    gate_free(&gate);
    plane_free(p);
    free(stage);
    free(b);
    return 0;
}
