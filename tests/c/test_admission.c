/* What is refused before it costs the core anything, in which order, and that nothing is
 * charged to who has proven nothing (F3). tests/plane compares the same with its
 * specification; here are the limits of the tables and what a retyped sequence shows. */
#include "one_plane.h"

#include "blake2s.h"

static const uint8_t OURS[32] = "public key of the one that hears";
static struct wg_crypto_stage open_stage;
static const struct wg_endpoint PEER = {.family = 4, .port = 7, .addr = {192, 0, 2, 1}};

static void start(void)
{
    begin(1, seal_stage_init);
    memset(&open_stage, 0, sizeof open_stage);
    open_stage_init(&open_stage, plane, 0);
    plane_set_key(plane, OURS);
    batch.now = 1000 * WG_SECOND;
}

/* The outcome for one datagram: a drop, or WG_DROP_COUNT when it went up. */
static enum wg_drop hear(const uint8_t *bytes, uint32_t len, const struct wg_endpoint *from)
{
    uint64_t before[WG_DROP_COUNT];
    for (int i = 0; i < WG_DROP_COUNT; i++)
        before[i] = counted(&batch.drops[i]);
    batch_reset(&batch);
    struct wg_packet *p = batch_append(&batch, len);
    memcpy(batch.bytes + p->off, bytes, len);
    p->ep = batch_endpoint(&batch, from);
    open_stage.stage.run(&open_stage.stage, &batch);
    CHECK(!p->live);
    for (int i = 0; i < WG_DROP_COUNT; i++)
        if (counted(&batch.drops[i]) != before[i])
            return (enum wg_drop)i;
    return WG_DROP_COUNT;
}

struct message { uint8_t bytes[WG_INITIATION_LEN]; uint32_t len; };

static struct message made(uint8_t type, uint32_t id)
{
    struct message m = {{type}, type == WG_INITIATION ? WG_INITIATION_LEN : WG_RESPONSE_LEN};
    put_le32(m.bytes + 4, 0xabc);
    put_le32(m.bytes + 16, id);
    return m;
}
static void sign(struct message *m, const uint8_t *cookie)
{
    null_mac(OURS, 32, m->bytes, m->len - 32, m->bytes + m->len - 32);
    if (cookie)
        null_mac(cookie, WG_MAC, m->bytes, m->len - 16, m->bytes + m->len - 16);
}
static enum wg_drop initiate(uint32_t id, const uint8_t *cookie, const struct wg_endpoint *from)
{
    struct message m = made(WG_INITIATION, id);
    sign(&m, cookie);
    return hear(m.bytes, m.len, from);
}
static enum wg_drop respond(uint32_t index)
{
    struct message m = made(WG_RESPONSE, 5);
    put_le32(m.bytes + 8, index);
    sign(&m, NULL);
    return hear(m.bytes, m.len, &PEER);
}
static uint32_t core_takes(struct wg_handshakes *from)
{
    struct wg_handshake h;
    uint32_t n = 0;
    while (handshakes_take(from, &h))
        n++;
    return n;
}
static void load(void)
{
    for (uint32_t i = 0; i < 512; i++)
        CHECK(initiate(i, NULL, &PEER) == WG_DROP_COUNT);
    CHECK(!admission_under_load(&plane->admission, batch.now));
    CHECK(initiate(512, NULL, &PEER) == WG_DROP_cookie_demanded);
    CHECK(admission_under_load(&plane->admission, batch.now));
    CHECK(core_takes(&plane->handshakes) == 512);
}
/* The cookie in the newest reply. */
static void cookie_in_reply(uint8_t out[WG_MAC])
{
    const struct wg_lane_entry *e = NULL;
    while (plane->replies.count) {
        e = lane_peek(&plane->replies);
        CHECK(e->len == 64 && e->bytes[0] == 3 && get_le32(e->bytes + 4) == 0xabc && e->endpoint.port == PEER.port);
        memcpy(out, e->bytes + 32, WG_MAC);
        admission_pop_reply(plane);
    }
    CHECK(e);
}

static void order(void)
{
    start();
    uint32_t slot = add_peer(1);
    struct message m = made(WG_INITIATION, 1);
    CHECK(hear(m.bytes, 147, &PEER) == WG_DROP_malformed_message);
    CHECK(hear(m.bytes, m.len, &PEER) == WG_DROP_bad_mac1);
    CHECK(respond(77) == WG_DROP_unawaited);
    plane_await(plane, slot, 77);
    CHECK(respond(77) == WG_DROP_COUNT && respond(78) == WG_DROP_unawaited);
    plane_await(plane, slot, 78);
    CHECK(respond(77) == WG_DROP_unawaited && respond(78) == WG_DROP_COUNT);
    plane_await_none(plane, slot);
    CHECK(respond(78) == WG_DROP_unawaited);
    plane_set_key(plane, NULL);
    CHECK(initiate(1, NULL, &PEER) == WG_DROP_bad_mac1);
    plane_free(plane);
}

/* A keypair takes the index of its initiation over: cookie replies find it, responses do not. */
static void index_of_a_keypair(void)
{
    const uint8_t key[WG_KEY] = {1}, reply[64] = {WG_COOKIE_REPLY, 0, 0, 0, 77};
    start();
    uint32_t slot = add_peer(1), found;
    plane_await(plane, slot, 77);
    CHECK(!plane_find(plane, 77, &found) && hear(reply, 64, &PEER) == WG_DROP_COUNT);
    struct wg_keypair facts = {.initiator = true, .local = 77, .birth = batch.now};
    CHECK(!plane_install(plane, slot, &facts, key, key));
    CHECK(plane_find(plane, 77, &found) && found == slot && respond(77) == WG_DROP_unawaited);
    CHECK(hear(reply, 64, &PEER) == WG_DROP_COUNT);
    plane_await(plane, slot, 78);
    plane_remove_peer(plane, slot);
    CHECK(respond(78) == WG_DROP_unawaited && hear(reply, 64, &PEER) == WG_DROP_unawaited);
    CHECK(core_takes(&plane->cookies) == 2);
    plane_free(plane);
}

static void nothing_is_charged_to_the_unproven(void)
{
    uint8_t cookie[WG_MAC];
    struct wg_endpoint nat = PEER;
    nat.port = 8;
    start();
    load();
    cookie_in_reply(cookie);
    for (uint32_t i = 0; i < 10000; i++) {
        enum wg_drop why = initiate(i, NULL, i % 2 ? &PEER : &nat);
        CHECK(why == WG_DROP_cookie_demanded || why == WG_DROP_cookie_lane);
    }
    CHECK(plane->replies.count && plane->replies.count <= WG_REPLIES_A_SOURCE && !handshakes_depth(&plane->handshakes));
    for (uint32_t i = 0; i < 7; i++)
        CHECK(initiate(i, cookie, &PEER) == (i < 5 ? WG_DROP_COUNT : WG_DROP_rate_limited));
    CHECK(initiate(0, cookie, &PEER) == WG_DROP_handshake_copy);
    CHECK(initiate(9, cookie, &nat) == WG_DROP_cookie_lane); /* another port, another cookie */
    batch.now += WG_SECOND / 20;
    CHECK(initiate(10, cookie, &PEER) == WG_DROP_COUNT && initiate(11, cookie, &PEER) == WG_DROP_rate_limited);
    batch.now += 120 * WG_SECOND; /* load is over; make it anew, with a new secret */
    core_takes(&plane->handshakes);
    while (plane->replies.count)
        admission_pop_reply(plane);
    load();
    CHECK(initiate(12, cookie, &PEER) == WG_DROP_cookie_demanded);
    plane_free(plane);
}

static void load_does_not_flap(void)
{
    start();
    load();
    for (uint32_t tenth = 0; tenth < 200; tenth++, batch.now += WG_SECOND / 10)
        for (uint32_t i = 0; i < 20; i++)
            CHECK(initiate(i, NULL, &PEER) != WG_DROP_COUNT && !handshakes_depth(&plane->handshakes));
    CHECK(admission_under_load(&plane->admission, batch.now + 4 * WG_SECOND));
    CHECK(!admission_under_load(&plane->admission, batch.now + 5 * WG_SECOND));
    plane_free(plane);
}

static void few_answers_for_nothing(void)
{
    start();
    uint32_t slot = add_peer(1);
    load();
    plane_await(plane, slot, 77);
    for (int i = 0; i < 6; i++)
        CHECK(respond(77) == (i < 4 ? WG_DROP_COUNT : WG_DROP_cookie_demanded));
    plane_await(plane, slot, 78);
    CHECK(respond(78) == WG_DROP_COUNT);
    plane_free(plane);
}

static void cookie_replies_are_bounded(void)
{
    const uint8_t reply[64] = {WG_COOKIE_REPLY, 0, 0, 0, 77};
    uint32_t taken = 0;
    start();
    plane_await(plane, add_peer(1), 77);
    for (uint32_t i = 0; i < 20000; i++, batch.now += WG_SECOND / 10000)
        taken += hear(reply, 64, &PEER) == WG_DROP_COUNT ? core_takes(&plane->cookies) : 0;
    CHECK(taken >= 200 && taken <= 250 && !handshakes_depth(&plane->handshakes));
    plane_free(plane);
}

/* The seal stage sends our handshakes first and leaves most of a batch to data. */
static void replies_take_a_share_of_a_batch(void)
{
    static const uint8_t ours[4] = "ours";
    start();
    load();
    struct wg_endpoint crowd = PEER;
    for (uint32_t i = 0; i < 300; i++) {
        crowd.addr[3] = (uint8_t)i;
        initiate(i, NULL, &crowd);
    }
    CHECK(plane->replies.count == 256 && !lane_put(&plane->to_udp, ours, 4, WG_NO_PEER, 0, &PEER));
    batch_reset(&batch);
    CHECK(seal.stage.pull(&seal.stage, &batch) && batch.n == 33 && batch.packet[0].len == 4);
    uint32_t pulls = 1;
    for (; plane->replies.count; pulls++) {
        batch_reset(&batch);
        CHECK(seal.stage.pull(&seal.stage, &batch) == (plane->replies.count > 0) && batch.n == 32);
    }
    CHECK(pulls == 8);
    plane_free(plane);
}

/* 8192 sources; when their places are taken a new one is refused, and let in when a bucket
 * is full again. */
static void limiter_table(void)
{
    static struct wg_limiter limiter;
    uint32_t let_in = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        struct wg_endpoint e = {.family = 6, .addr = {0x20, 1}};
        put_be32(e.addr + 4, i);
        let_in += limiter_allow(&limiter, &e, WG_SECOND);
        e.addr[15] = 1; /* the same /64 */
        CHECK(i || (limiter_allow(&limiter, &e, WG_SECOND) && limiter_allow(&limiter, &e, WG_SECOND) &&
                    limiter_allow(&limiter, &e, WG_SECOND) && limiter_allow(&limiter, &e, WG_SECOND) &&
                    !limiter_allow(&limiter, &e, WG_SECOND)));
    }
    CHECK(let_in == 8192);
    const struct wg_endpoint other = {.family = 4, .addr = {192, 0, 2, 1}};
    const struct wg_endpoint mapped = {.family = 6, .addr = {[10] = 0xff, 0xff, 192, 0, 2, 1}};
    CHECK(!limiter_allow(&limiter, &other, WG_SECOND));
    for (int i = 0; i < 6; i++)
        CHECK(limiter_allow(&limiter, i % 2 ? &other : &mapped, 2 * WG_SECOND) == (i < 5));
}

/* RFC 7693, appendix B, and lengths at the borders of a block with the key of its appendix E. */
static void blake2s_vectors(void)
{
    static const uint8_t abc[32] = {
        0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14, 0xe2, 0xe1, 0xa7, 0x2b, 0xa3, 0x4e, 0xeb, 0x45, 0x2f,
        0x37, 0x45, 0x8b, 0x20, 0x9e, 0xd6, 0x3a, 0x29, 0x4d, 0x99, 0x9b, 0x4c, 0x86, 0x67, 0x59, 0x82};
    static const uint8_t all[32] = { /* appendix E: hash of hashes */
        0x6a, 0x41, 0x1f, 0x08, 0xce, 0x25, 0xad, 0xcd, 0xfb, 0x02, 0xab, 0xa6, 0x41, 0x45, 0x1c, 0xec,
        0x53, 0xc5, 0x98, 0xb2, 0x4f, 0x4f, 0xc7, 0x87, 0xfb, 0xdc, 0x88, 0x79, 0x7f, 0x4c, 0x1d, 0xfe};
    static const uint8_t outs[] = {16, 20, 28, 32}, lens[][2] = {{0, 0}, {0, 3}, {0, 64}, {0, 65}, {0, 255}, {4, 0}};
    uint8_t out[32], in[1024], key[32], hashes[24 * 8 * 32];
    uint32_t used = 0;
    blake2s(out, 32, NULL, 0, (const uint8_t *)"abc", 3);
    CHECK(!memcmp(out, abc, 32));
    for (int o = 0; o < 4; o++)
        for (int l = 0; l < 6; l++) {
            size_t len = (size_t)lens[l][0] * 256 + lens[l][1];
            for (int keyed = 0; keyed < 2; keyed++) {
                uint32_t seeds[2] = {(uint32_t)len, outs[o]};
                for (int which = 0; which < 2; which++) {
                    uint32_t a = 0xDEAD4BADu * seeds[which], b = 1;
                    size_t n = which ? outs[o] : len;
                    for (size_t i = 0; i < n; i++) {
                        uint32_t t = a + b;
                        a = b;
                        b = t;
                        (which ? key : in)[i] = (uint8_t)(t >> 24);
                    }
                }
                blake2s(hashes + used, outs[o], key, keyed ? outs[o] : 0, in, len);
                used += outs[o];
            }
        }
    blake2s(out, 32, NULL, 0, hashes, used);
    CHECK(!memcmp(out, all, 32));
}

int main(void)
{
    order();
    index_of_a_keypair();
    nothing_is_charged_to_the_unproven();
    load_does_not_flap();
    few_answers_for_nothing();
    cookie_replies_are_bounded();
    replies_take_a_share_of_a_batch();
    limiter_table();
    blake2s_vectors();
    return 0;
}
