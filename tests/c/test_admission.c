/* What is refused before it costs the core anything, in which order, and that nothing is
 * charged to who has proven nothing (F3). tests/plane compares the same with its
 * specification; here are the limits of the tables and what a retyped sequence shows. */
#include "one_plane.h"

static const uint8_t OURS[256] = "public key of the one that hears";
static struct wg_open_stage open_stage;
static const struct wg_endpoint PEER = {.family = 4, .port = 7, .addr = {192, 0, 2, 1}};

static void start(void)
{
    begin(1, seal_stage_init);
    memset(&open_stage, 0, sizeof open_stage);
    open_stage_init(&open_stage, plane, 0);
    plane->admission.limiter.seed[0] = plane->admission.limiter.seed[1] = 1; /* one under which no places below collide */
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
    open_stage.base.stage.run(&open_stage.base.stage, &batch);
    CHECK(!p->live);
    for (int i = 0; i < WG_DROP_COUNT; i++)
        if (counted(&batch.drops[i]) != before[i])
            return (enum wg_drop)i;
    return WG_DROP_COUNT;
}

struct message { uint8_t bytes[WG_HANDSHAKE_MAX]; uint32_t len; };

static struct message made(uint8_t type, uint32_t id)
{
    struct message m = {{type}, type == WG_INITIATION ? plane->lengths.initiation : plane->lengths.response};
    put_le32(m.bytes + 4, 0xabc);
    put_le32(m.bytes + 16, id);
    return m;
}
static void sign_with(const uint8_t *key, uint32_t size, struct message *m, uint32_t len)
{
    struct wg_mac_key made;
    null_prepare(macs, key, size, &made);
    null_prepared(macs, &made, m->bytes, len, m->bytes + len);
}
static void sign(struct message *m, const uint8_t *cookie)
{
    sign_with(OURS, macs->key_size, m, m->len - 2 * macs->mac_size);
    if (cookie)
        sign_with(cookie, macs->mac_size, m, m->len - macs->mac_size);
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
static void cookie_in_reply(uint8_t out[WG_MAC_MAX])
{
    const struct wg_lane_entry *e = NULL;
    while (plane->replies.queue.count) {
        e = lane_peek(&plane->replies);
        CHECK(e->len == plane->lengths.cookie_reply && e->bytes[0] == 3 && get_le32(e->bytes + 4) == 0xabc &&
              e->endpoint.port == PEER.port);
        memcpy(out, e->bytes + 8 + macs->nonce_size, macs->mac_size);
        admission_pop_reply(plane);
    }
    CHECK(e);
}

static void order(void)
{
    start();
    uint32_t slot = add_peer(1);
    struct message m = made(WG_INITIATION, 1);
    CHECK(hear(m.bytes, m.len - 1, &PEER) == WG_DROP_malformed_message);
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
    const uint8_t key[WG_KEY] = {1}, reply[WG_COOKIE_REPLY_MAX] = {WG_COOKIE_REPLY, 0, 0, 0, 77};
    start();
    uint32_t slot = add_peer(1), found;
    plane_await(plane, slot, 77);
    CHECK(!plane_find(plane, 77, &found) && hear(reply, plane->lengths.cookie_reply, &PEER) == WG_DROP_COUNT);
    struct wg_keypair facts = {.initiator = true, .local = 77, .birth = batch.now};
    CHECK(!plane_install(plane, slot, &facts, key, key, NULL));
    CHECK(plane_find(plane, 77, &found) && found == slot && respond(77) == WG_DROP_unawaited);
    CHECK(hear(reply, plane->lengths.cookie_reply, &PEER) == WG_DROP_COUNT);
    plane_await(plane, slot, 78);
    plane_remove_peer(plane, slot);
    CHECK(respond(78) == WG_DROP_unawaited && hear(reply, plane->lengths.cookie_reply, &PEER) == WG_DROP_unawaited);
    CHECK(core_takes(&plane->cookies) == 2);
    plane_free(plane);
}

static void nothing_is_charged_to_the_unproven(void)
{
    uint8_t cookie[WG_MAC_MAX];
    struct wg_endpoint nat = PEER;
    nat.port = 8;
    start();
    load();
    cookie_in_reply(cookie);
    for (uint32_t i = 0; i < 10000; i++) {
        enum wg_drop why = initiate(i, NULL, i % 2 ? &PEER : &nat);
        CHECK(why == WG_DROP_cookie_demanded || why == WG_DROP_cookie_lane);
    }
    CHECK(plane->replies.queue.count && plane->replies.queue.count <= WG_REPLIES_A_SOURCE && !handshakes_depth(&plane->handshakes));
    for (uint32_t i = 0; i < 7; i++)
        CHECK(initiate(i, cookie, &PEER) == (i < 5 ? WG_DROP_COUNT : WG_DROP_rate_limited));
    CHECK(initiate(0, cookie, &PEER) == WG_DROP_handshake_copy);
    CHECK(initiate(9, cookie, &nat) == WG_DROP_cookie_lane); /* another port, another cookie */
    batch.now += WG_SECOND / 20;
    CHECK(initiate(10, cookie, &PEER) == WG_DROP_COUNT && initiate(11, cookie, &PEER) == WG_DROP_rate_limited);
    batch.now += 120 * WG_SECOND; /* load is over; make it anew, with a new secret */
    core_takes(&plane->handshakes);
    while (plane->replies.queue.count)
        admission_pop_reply(plane);
    load();
    CHECK(initiate(12, cookie, &PEER) == WG_DROP_cookie_demanded);
    CHECK(initiate(12, NULL, &PEER) == WG_DROP_handshake_copy); /* it has the same MAC1 */
    CHECK(initiate(12, NULL, &nat) == WG_DROP_cookie_demanded && initiate(12, NULL, &nat) == WG_DROP_handshake_copy);
    batch.now += WG_SECOND;
    CHECK(initiate(12, NULL, &nat) == WG_DROP_cookie_demanded);
    plane_free(plane);
}

/* Through all of admission: its cookie at the first try though the flooder's replies wait, and
 * in at the second though the flooder has proven his port and used up what the address has. */
static void flooder_behind_the_same_nat(void)
{
    uint8_t cookie[WG_MAC_MAX], floods[WG_MAC_MAX];
    struct wg_endpoint flooder = PEER;
    flooder.port = 8;
    start();
    load();
    while (plane->replies.queue.count)
        admission_pop_reply(plane);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK(initiate(i, NULL, &flooder) == (i < 4 ? WG_DROP_cookie_demanded : WG_DROP_cookie_lane));
    memcpy(floods, lane_peek(&plane->replies)->bytes + 8 + macs->nonce_size, macs->mac_size);
    CHECK(initiate(1000, NULL, &PEER) == WG_DROP_cookie_demanded);
    while (plane->replies.queue.count > 1)
        admission_pop_reply(plane);
    cookie_in_reply(cookie);
    for (uint32_t i = 0; i < 510; i++, batch.now += WG_SECOND / 100) {
        initiate(i, floods, &flooder);
        initiate(i, NULL, &flooder);
        core_takes(&plane->handshakes);
    }
    initiate(510, floods, &flooder);
    CHECK(initiate(511, floods, &flooder) == WG_DROP_rate_limited && counted(&batch.drops[WG_DROP_rate_limited]) > 300);
    CHECK(initiate(0, cookie, &PEER) == WG_DROP_COUNT);
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
        CHECK(respond(77) == (i < 4 ? WG_DROP_COUNT : i < 5 ? WG_DROP_cookie_demanded : WG_DROP_handshake_copy));
    plane_await(plane, slot, 78);
    CHECK(respond(78) == WG_DROP_COUNT);
    plane_free(plane);
}

static void cookie_replies_are_bounded(void)
{
    const uint8_t reply[WG_COOKIE_REPLY_MAX] = {WG_COOKIE_REPLY, 0, 0, 0, 77};
    uint32_t taken = 0;
    start();
    plane_await(plane, add_peer(1), 77);
    for (uint32_t i = 0; i < 20000; i++, batch.now += WG_SECOND / 10000)
        taken += hear(reply, plane->lengths.cookie_reply, &PEER) == WG_DROP_COUNT ? core_takes(&plane->cookies) : 0;
    CHECK(taken >= 200 && taken <= 250 && !handshakes_depth(&plane->handshakes));
    plane_free(plane);
}

/* Messages from as many sources, of so many networks in turn: how many are answered. */
static uint32_t crowd(uint32_t sources, uint32_t networks)
{
    static uint32_t id = 10000;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < sources; i++) {
        const struct wg_endpoint one = {.family = 4, .port = (uint16_t)i,
                                        .addr = {192, (uint8_t)(i % networks), (uint8_t)(i >> 8), (uint8_t)i}};
        answered += initiate(id++, NULL, &one) == WG_DROP_cookie_demanded;
    }
    return answered;
}

/* The seal stage sends our handshakes first and leaves most of a batch to data. */
static void replies_take_a_share_of_a_batch(void)
{
    static const uint8_t ours[4] = "ours";
    start();
    load();
    crowd(300, 256);
    CHECK(plane->replies.queue.count == 224 && !lane_put(&plane->to_udp, ours, 4, WG_NO_PEER, 0, &PEER));
    batch_reset(&batch);
    batch.room = WG_FULL / 4 * 3 - 1;
    CHECK(!seal.base.stage.pull(&seal.base.stage, &batch) && batch.held && batch.n == 1 && batch.packet[0].len == 4);
    CHECK(!lane_put(&plane->to_udp, ours, 4, WG_NO_PEER, 0, &PEER));
    batch_reset(&batch);
    CHECK(!batch.held && seal.base.stage.pull(&seal.base.stage, &batch) && batch.n == 33 && batch.packet[0].len == 4);
    uint32_t pulls = 1;
    for (; plane->replies.queue.count; pulls++) {
        batch_reset(&batch);
        CHECK(seal.base.stage.pull(&seal.base.stage, &batch) == (plane->replies.queue.count > 0) && batch.n == 32);
    }
    CHECK(pulls == 7);
    plane_free(plane);
}

/* Beside data they are 20,000 a second, and wait; once these stop they leave as fast as they can. */
static void replies_beside_data(void)
{
    uint32_t left = 0;
    start();
    load();
    for (uint32_t ms = 0; ms < 100; ms++, batch.now += WG_SECOND / 1000) {
        crowd(100, 256);
        plane->data_left = batch.now;
        for (bool more = true; more; left += batch.n) {
            batch_reset(&batch);
            more = seal.base.stage.pull(&seal.base.stage, &batch);
            CHECK(more || batch.held == (plane->replies.queue.count > 0));
        }
    }
    CHECK(left >= 100 * 20 && left <= 100 * 20 + 64 && plane->replies.queue.count > 100);
    batch.now += WG_SECOND;
    for (bool more = true; more;) {
        batch_reset(&batch);
        more = seal.base.stage.pull(&seal.base.stage, &batch);
    }
    CHECK(!batch.held && !plane->replies.queue.count);
    plane_free(plane);
}

/* Many sources leave others a place: of one network, however many, those of another; of all
 * networks, where a peer is or was, by configuration or because its packets came from there. */
static void a_crowd_leaves_room(void)
{
    struct wg_endpoint home = {.family = 4, .port = 1, .addr = {198, 51, 100, 1}}, away = home, other = home;
    away.addr[0] = 203;
    other.addr[0] = 100;
    start();
    uint32_t slot = add_peer(1);
    load();
    CHECK(crowd(1000, 1) == 64 - 1); /* load() has one from there */
    CHECK(initiate(1, NULL, &other) == WG_DROP_cookie_demanded);
    plane_set_endpoint(plane, slot, &home);
    plane_set_endpoint(plane, slot, &away);
    CHECK(crowd(1000, 256) == 224 - 64 - 1);
    other.port++;
    CHECK(initiate(1, NULL, &other) == WG_DROP_cookie_lane);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(initiate(i, NULL, &home) == (i < 4 ? WG_DROP_cookie_demanded : WG_DROP_cookie_lane));
        CHECK(initiate(i, NULL, &away) == (i < 4 ? WG_DROP_cookie_demanded : WG_DROP_cookie_lane));
    }
    for (home.port = 1000; plane->replies.queue.count < 256; home.port++) {
        plane_set_endpoint(plane, slot, &home);
        CHECK(initiate(home.port, NULL, &home) == WG_DROP_cookie_demanded);
    }
    plane_set_endpoint(plane, slot, &home);
    CHECK(initiate(1, NULL, &home) == WG_DROP_cookie_lane);
    while (plane->replies.queue.count)
        admission_pop_reply(plane);
    CHECK(crowd(1000, 1) == 64 && initiate(1, NULL, &other) == WG_DROP_cookie_demanded);
    plane_free(plane);
}

static void with(const struct wg_macs *of_a_suite)
{
    macs = of_a_suite;
    order();
    index_of_a_keypair();
    nothing_is_charged_to_the_unproven();
    flooder_behind_the_same_nat();
    load_does_not_flap();
    few_answers_for_nothing();
    cookie_replies_are_bounded();
    replies_take_a_share_of_a_batch();
    replies_beside_data();
    a_crowd_leaves_room();
}

/* The longest initiation that any suite has, and what it may have least. */
int main(void)
{
    static const struct wg_macs largest = NULL_MACS(256, 32, 64, 32), least = NULL_MACS(48, 16, 48, 12);
    with(&null_macs);
    with(&largest);
    with(&least);
    return 0;
}
