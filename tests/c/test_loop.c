/* Routing loops: packets that end anywhere, and indices that peers chose to be the same. What
 * is a loop is told in tests/plane/test_loops.py. */
#include "plane/loop.h"
#include "one_plane.h"

enum { REMOTE = 0x2001 };

static void install(uint32_t slot, uint32_t local, uint32_t remote, bool initiator)
{
    const uint8_t key[WG_KEY] = {1};
    const struct wg_keypair facts = {.initiator = initiator, .local = local, .remote = remote, .birth = batch.now};
    CHECK(plane_install(plane, slot, &facts, key, key, NULL) == 0);
}

/* A transport message with the index to the endpoint of peer n; of `len` bytes in all, and
 * nothing may be read behind them. */
static bool closes(uint8_t version, uint8_t n, uint32_t remote, uint32_t len, bool fragment, uint32_t owner)
{
    const uint32_t head = version == 4 ? 20 : 40, udp = head + (fragment ? 8 : 0);
    uint8_t whole[128] = {0}, proto = fragment ? IPV6_FRAGMENT : UDP;
    whole[0] = version == 4 ? 0x45 : 0x60;
    put_be16(whole + (version == 4 ? 2 : 4), (uint16_t)(version == 4 ? len : len - 40));
    whole[version == 4 ? 9 : 6] = proto;
    memcpy(whole + (version == 4 ? 16 : 24), (const uint8_t[4]){192, 0, 2, n}, 4);
    if (fragment)
        whole[head] = UDP;
    put_be16(whole + udp + 2, n);
    put_le32(whole + udp + 8, WG_TRANSPORT);
    put_le32(whole + udp + 12, remote);
    uint8_t *packet = malloc(len);
    memcpy(packet, whole, len);
    struct wg_ip ip;
    CHECK(ip_parse(packet, len, &ip) && ip.total_len == len);
    bool found = loop_closes(plane, &ip, packet, owner, batch.now);
    free(packet);
    return found;
}

static void packets_that_end_anywhere(void)
{
    begin(1, seal_stage_init);
    uint32_t four = add_peer(1), six = add_peer(2);
    plane->peer[six].endpoint.family = 6;
    install(four, 1, REMOTE, true);
    install(six, 2, REMOTE, true);
    for (uint32_t len = 20; len <= 100; len++)
        CHECK(closes(4, 1, REMOTE, len, false, four) == (len >= 20 + 8 + 8));
    for (uint32_t len = 40; len <= 100; len++) {
        CHECK(closes(6, 2, REMOTE, len, false, six) == (len >= 40 + 8 + 8));
        CHECK(closes(6, 2, REMOTE, len, true, six) == (len >= 40 + 8 + 8 + 8));
    }
    plane_free(plane);
}

static void peers_that_chose_the_same_index(void)
{
    bool there[9] = {0};
    uint32_t slot[9], local = 1;
    begin(1, seal_stage_init);
    for (int turn = 0; turn < 2000; turn++) {
        uint8_t n = (uint8_t)(1 + rnd(8));
        if (!there[n]) {
            slot[n] = add_peer(n);
            install(slot[n], local++, REMOTE, true);
        } else if (rnd(2)) {
            install(slot[n], local++, REMOTE, rnd(2));
        } else {
            plane_remove_peer(plane, slot[n]);
        }
        there[n] = plane_lookup(plane, (const uint8_t[4]){10, n, 0, 1}, 4) != WG_NO_PEER;
        for (uint8_t k = 1; k <= 8; k++)
            CHECK(closes(4, k, REMOTE, 60, false, WG_NO_PEER) == there[k]);
    }
    plane_free(plane);
}

int main(void)
{
    packets_that_end_anywhere();
    peers_that_chose_the_same_index();
    return 0;
}
