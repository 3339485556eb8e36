/* Tags of other sizes than WireGuard's (F8): where packets lie in a batch, how long they are and
 * where padding ends follows from the suite; and a packet that it could not seal does not leave. */
#include "one_plane.h"
#include "toy_aead.h"
#include "core/lengths.h"

enum { MTU = 1420 };

TOY_AEAD(12);
TOY_AEAD(16);
TOY_AEAD(32);

static struct wg_open_stage opens;

static void start(const struct wg_aead *aead)
{
    const uint8_t key[WG_KEY] = {7};
    begin(1, seal_stage_init);
    plane_free(plane);
    plane = plane_new(8, 64, 1, aead, macs);
    CHECK(plane);
    seal_stage_init(&seal, plane, 0, MTU);
    memset(&opens, 0, sizeof opens);
    open_stage_init(&opens, plane, 0);
    const struct wg_keypair facts = {.initiator = true, .local = 5, .remote = 5, .birth = batch.now};
    CHECK(plane_install(plane, add_peer(1), &facts, key, key, NULL) == 0);
}

/* Bytes that tell where they belong, under the header of an IP packet from and to the peer. */
static void write_packet(uint8_t *at, uint32_t len)
{
    const uint8_t ip[20] = {0x45, [2] = (uint8_t)(len >> 8), (uint8_t)len, [8] = 64, [9] = 254, [12] = 10, 1, [16] = 10, 1};
    for (uint32_t i = 0; i < len; i++)
        at[i] = (uint8_t)(i * 3 + len);
    memcpy(at, ip, sizeof ip);
}

static void put(uint32_t len)
{
    CHECK(batch_has_room(&batch, 1, len));
    write_packet(batch.bytes + batch_append(&batch, len)->off, len);
}

static void check_opened(uint32_t i, uint32_t len)
{
    static uint8_t expected[WG_PACKET_MAX];
    CHECK(batch.packet[i].live && batch.packet[i].len == len);
    write_packet(expected, len);
    CHECK(!memcmp(batch.bytes + batch.packet[i].off, expected, len));
}

/* Every length, neighbours close by: none touches another, since all open again. */
static void round_trip(const struct wg_aead *aead)
{
    enum { N = 60 };
    start(aead);
    for (uint32_t from = 20; from < MTU + 20; from += N) {
        batch_reset(&batch);
        for (uint32_t i = 0; i < N; i++)
            put(from + i);
        seal.base.stage.run(&seal.base.stage, &batch);
        for (uint32_t i = 0; i < N; i++) {
            const struct wg_packet *p = &batch.packet[i];
            uint32_t len = from + i, padded = round16(len) < MTU ? round16(len) : len > MTU ? len : MTU;
            CHECK(p->live && p->len == 16 + padded + aead->tag_size);
            CHECK(message_type(&plane->lengths, batch.bytes + p->off, p->len) == WG_TRANSPORT);
        }
        opens.base.stage.run(&opens.base.stage, &batch);
        for (uint32_t i = 0; i < N; i++)
            check_opened(i, from + i);
    }
    plane_free(plane);
}

/* A keepalive is as long as the overhead; a byte less is no message, and a wrong bit is seen. */
static void limits(const struct wg_aead *aead)
{
    const struct wg_endpoint from = {.family = 4, .port = 1, .addr = {192, 0, 2, 1}};
    uint32_t overhead = 16 + aead->tag_size;
    start(aead);
    CHECK(plane->lengths.overhead == overhead);
    for (uint32_t len = overhead - 1; len <= overhead; len++) {
        batch_reset(&batch);
        uint8_t *d = memset(batch.bytes + batch_append(&batch, len)->off, 0, len);
        put_le32(d, WG_TRANSPORT);
        put_le32(d + 4, 5);
        batch.packet[0].ep = batch_endpoint(&batch, &from);
        opens.base.stage.run(&opens.base.stage, &batch);
        CHECK(counted(&batch.drops[WG_DROP_malformed_message]) == 1 && counted(&batch.drops[WG_DROP_bad_tag]) == (len == overhead));
    }
    batch_reset(&batch);
    put(100);
    put(1300);
    seal.base.stage.run(&seal.base.stage, &batch);
    batch.bytes[batch.packet[0].off + batch.packet[0].len - 1] ^= 1;
    opens.base.stage.run(&opens.base.stage, &batch);
    CHECK(!batch.packet[0].live && counted(&batch.drops[WG_DROP_bad_tag]) == 2);
    check_opened(1, 1300);
    plane_free(plane);
}

static void refusing_seal(struct wgpy_packet *job, size_t n)
{
    toy_seal(job, n, 12);
    for (size_t i = 0; i < n; i += 3)
        job[i].ok = 0;
}

static void what_is_not_sealed_does_not_leave(void)
{
    struct wg_aead refusing = toy_12;
    refusing.may_refuse = true;
    refusing.seal = refusing_seal;
    start(&refusing);
    batch_reset(&batch);
    for (uint32_t i = 0; i < 10; i++) {
        put(100 + i);
        if (i == 4)
            batch.packet[i].live = 0;
    }
    seal.base.stage.run(&seal.base.stage, &batch);
    CHECK(counted(&batch.drops[WG_DROP_not_sealed]) == 3);
    for (uint32_t i = 0; i < 10; i++)
        CHECK(batch.packet[i].live == (i != 4 && (i < 4 ? i : i - 1) % 3 != 0));
    plane_free(plane);
}

int main(void)
{
    static const struct wg_aead *const all[] = {&toy_12, &toy_16, &toy_32};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        round_trip(all[i]);
        limits(all[i]);
    }
    what_is_not_sealed_does_not_leave();
    return 0;
}
