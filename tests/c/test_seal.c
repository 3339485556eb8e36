/* The seal stage when the control thread or another queue comes between its steps. */
#include "one_plane.h"

/* Comes between the stage's look at a keypair and its staging of a packet. */
static void (*before_lock)(pthread_mutex_t *);
static int hooked_lock(pthread_mutex_t *m)
{
    if (before_lock)
        before_lock(m);
    return pthread_mutex_lock(m);
}
#define pthread_mutex_lock hooked_lock
#define seal_stage_init hooked_seal_stage_init
#include "plane/seal.c"

static void install(uint32_t slot, uint32_t index, bool initiator)
{
    const uint8_t key[WG_KEY] = {1};
    const struct wg_keypair facts = {.initiator = initiator, .local = index, .remote = index, .birth = batch.now};
    CHECK(plane_install(plane, slot, &facts, key, key, NULL) == 0);
}

static void add_packet(uint8_t peer)
{
    const uint8_t packet[20] = {0x45, [3] = 20, [8] = 64, [9] = UDP, [12] = 10, [16] = 10, peer};
    memcpy(batch.bytes + batch_append(&batch, sizeof packet)->off, packet, sizeof packet);
}

static void run(void) { seal.base.stage.run(&seal.base.stage, &batch); }

/* Packets that pull took from a staged queue, and the endpoint it found for a handshake
 * datagram, are in the batch when their peer goes, and perhaps another takes its slot. */
static void peer_removed_between_pull_and_run(bool reused)
{
    begin(1, hooked_seal_stage_init);
    uint32_t slot = add_peer(1);
    add_packet(1);
    run();
    CHECK(plane->peer[slot].staged.count == 1 && !batch.packet[0].live);
    install(slot, 1, true);
    CHECK(lane_put(&plane->to_udp, (const uint8_t *)"hello", 5, slot, 0, NULL) == 0);
    plane_want(plane, slot, WANT_FLUSH);
    batch_reset(&batch);
    seal.base.stage.pull(&seal.base.stage, &batch);
    CHECK(batch.n == 2);

    plane_remove_peer(plane, slot);
    if (reused) {
        CHECK(add_peer(2) == slot);
        install(slot, 2, true);
        add_packet(2);
    }
    run();
    CHECK(batch.packet[0].live && port_of(&batch.packet[0]) == 1);
    CHECK(!batch.packet[1].live && counted(&batch.drops[WG_DROP_staged_purged]) == 1);
    CHECK(!reused || (batch.packet[2].live && port_of(&batch.packet[2]) == 2));
    CHECK(plane->peer[slot].staged.count == 0);
    plane_free(plane);
}

static void promote(pthread_mutex_t *m)
{
    struct wg_peer *peer = &plane->peer[0];
    uint32_t slot, bits;
    if (m != &peer->lock || !batch.endpoints)
        return;
    before_lock = NULL;
    plane_confirm(plane, 0, &peer->keypair[peer->next]);
    CHECK(marks_take(&plane->wants, &slot, &bits) && bits == WANT_FLUSH); /* queue 0 finds nothing to flush */
}

static void keypair_promoted_while_another_queue_stages(void)
{
    uint32_t slot, bits;
    begin(2, hooked_seal_stage_init);
    CHECK(add_peer(1) == 0);
    install(0, 1, false);
    before_lock = promote;
    add_packet(1);
    run();
    CHECK(!before_lock && plane->peer[0].staged.count == 1);
    CHECK(marks_take(&plane->wants, &slot, &bits) && slot == 0 && bits == WANT_FLUSH);
    plane_free(plane);
}

int main(void)
{
    peer_removed_between_pull_and_run(false);
    peer_removed_between_pull_and_run(true);
    keypair_promoted_while_another_queue_stages();
    return 0;
}
