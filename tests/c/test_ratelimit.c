/* The limits of sources that have proven where they are (F3). */
#include "check.h"
#include "plane/ratelimit.h"

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
        for (int same_64 = 1; !i && same_64 < 7; same_64++) {
            CHECK(limiter_allow(&limiter, &e, WG_SECOND) == (same_64 < 5));
            e.addr[15] = same_64 > 1;
        }
    }
    CHECK(let_in == 8192);
    const struct wg_endpoint other = {.family = 4, .addr = {192, 0, 2, 1}};
    const struct wg_endpoint mapped = {.family = 6, .addr = {[10] = 0xff, 0xff, 192, 0, 2, 1}};
    CHECK(!limiter_allow(&limiter, &other, WG_SECOND));
    for (int i = 0; i < 6; i++)
        CHECK(limiter_allow(&limiter, i % 2 ? &other : &mapped, 2 * WG_SECOND) == (i < 5));
}

/* One of a NAT or a /64 floods, and has proven where it is: one port, 31 ports, any ports of
 * another address. Who tries every five seconds gets in, whenever that is. */
static void flooder_next_door(void)
{
    static const struct { uint32_t ports; uint8_t family, address; } cases[] = {
        {1, 4, 0}, {31, 4, 0}, {31, 6, 0}, {31, 6, 1}, {60000, 6, 1}};
    for (uint32_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        static struct wg_limiter limiter;
        const struct wg_endpoint peer = {.family = cases[c].family, .port = 7, .addr = {192, 0, 2, 1}};
        struct wg_endpoint flooder = peer;
        uint32_t flood = 0, per_tick = cases[c].ports < 50 ? cases[c].ports : 50;
        flooder.addr[15] = cases[c].address;
        memset(&limiter, 0, sizeof limiter);
        for (uint32_t tick = 0; tick < 6000; tick++) {
            uint64_t now = WG_SECOND * (1000 + tick / 100) + tick % 100 * (WG_SECOND / 100);
            for (uint32_t i = 0; i < per_tick; i++) {
                flooder.port = (uint16_t)(1024 + (tick * per_tick + i) % cases[c].ports);
                flood += limiter_allow(&limiter, &flooder, now);
            }
            CHECK(tick % 507 != 3 || limiter_allow(&limiter, &peer, now));
        }
        CHECK(flood <= 60 * (WG_LIMIT_RATE + WG_LIMIT_RATE) + 5 + 32);
    }
}

int main(void)
{
    limiter_table();
    flooder_next_door();
    return 0;
}
