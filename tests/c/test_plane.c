/* The plane when control thread and stages take turns at the places where it could hurt. */
#include "one_plane.h"

#include <poll.h>
#include <unistd.h>

/* A handshake datagram for a peer does not go to the next one of its slot. */
static void lane_of_a_removed_peer(void)
{
    static const uint8_t gone[4] = "gone", kept[4] = "kept", none[4] = "none";
    const struct wg_endpoint elsewhere = {.family = 4, .port = 9};
    begin(1, seal_stage_init);
    uint32_t first = add_peer(1), second = add_peer(2);
    for (int i = 0; i < 3; i++)
        CHECK(!lane_put(&plane->to_udp, gone, 4, first, 0, NULL) && !lane_put(&plane->to_udp, kept, 4, second, 0, NULL) &&
              !lane_put(&plane->to_udp, none, 4, WG_NO_PEER, 0, &elsewhere));
    plane_remove_peer(plane, first);
    CHECK(add_peer(3) == first && counted(&plane->drops[WG_DROP_staged_purged]) == 3);
    seal.base.stage.pull(&seal.base.stage, &batch);
    CHECK(batch.n == 6);
    for (uint32_t i = 0; i < batch.n; i++) {
        CHECK(memcmp(batch.bytes + batch.packet[i].off, i % 2 ? none : kept, 4) == 0);
        CHECK(port_of(&batch.packet[i]) == (i % 2 ? 9 : 2));
    }
    plane_free(plane);
}

/* A pump sleeps on the descriptor and asks `pending` whether to pull: one that is readable
 * with nothing pending would keep it from sleeping, and clear nothing. */
static void waker_interrupted_between_its_two_steps(void)
{
    const uint64_t one = 1;
    struct wg_waker w;
    CHECK(waker_init(&w) == 0);
    struct pollfd readable = {.fd = w.fd, .events = POLLIN};
    CHECK(!atomic_exchange(&w.pending, true)); /* wake() is here ... */
    wake_clear(&w);
    CHECK(write(w.fd, &one, sizeof one) == sizeof one); /* ... and goes on */
    CHECK(poll(&readable, 1, 0) == 1 && w.pending);
    wake_clear(&w);
    CHECK(poll(&readable, 1, 0) == 0 && !w.pending);
    wake(&w);
    wake(&w);
    CHECK(poll(&readable, 1, 0) == 1 && w.pending);
    wake_clear(&w);
    CHECK(poll(&readable, 1, 0) == 0 && !w.pending);
    waker_free(&w);
}

/* A pool without a chunk to spare: each push loses one packet and says which. */
static void staged_without_room(void)
{
    static struct wg_pool pool;
    static struct wg_staged full, other;
    static uint8_t packet[WG_CHUNK + 1];
    CHECK(pool_init(&pool) == 0);
    for (int i = 0; i < WG_STAGED_PACKETS; i++)
        CHECK(staged_push(&pool, &full, packet, 1) == WG_DROP_COUNT);
    for (; pool.left; other.count = 0) /* of as many peers as it takes */
        CHECK(staged_push(&pool, &other, packet, 1) == WG_DROP_COUNT);
    for (int i = 0; i < 3; i++) {
        CHECK(staged_push(&pool, &full, packet, WG_CHUNK + 1) == WG_DROP_staged_pool);
        CHECK(full.count == WG_STAGED_PACKETS);
        packet[0] = (uint8_t)(i + 1);
        CHECK(staged_push(&pool, &full, packet, WG_CHUNK) == WG_DROP_staged_oldest);
        CHECK(full.count == WG_STAGED_PACKETS && pool.left == 0);
    }
    CHECK(staged_clear(&pool, &full) == WG_STAGED_PACKETS && pool.left == WG_STAGED_PACKETS);
    pool_free(&pool);
}

int main(void)
{
    staged_without_room();
    lane_of_a_removed_peer();
    waker_interrupted_between_its_two_steps();
    return 0;
}
