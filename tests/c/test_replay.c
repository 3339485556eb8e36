/* RFC 6479 with 8192 bits of which one word is in reuse: window 8128. The cases follow
 * from the semantics that the Linux module's own test also covers. */
#include "packets.h"
#include "plane/replay.h"

enum { WINDOW = 8128 };
#define LIMIT (UINT64_MAX - 8192) /* 2^64 - 2^13 - 1, REJECT_AFTER_MESSAGES of the paper */

static struct wg_replay r;

static bool try(uint64_t c)
{
    struct wg_replay before = r;
    bool ok = replay_check(&r, c);
    CHECK(memcmp(&before, &r, sizeof r) == 0);
    CHECK(replay_mark(&r, c) == ok);
    CHECK(ok || memcmp(&before, &r, sizeof r) == 0);
    return ok;
}

static void table(void)
{
    static const struct { uint64_t counter; bool accepted; } step[] = {
        {0, true}, {1, true}, {1, false}, {9, true}, {8, true}, {7, true}, {7, false},
        {WINDOW, true}, {WINDOW - 1, true}, {WINDOW - 1, false}, {WINDOW - 2, true}, {2, true}, {2, false},
        {WINDOW + 16, true}, {3, false}, {WINDOW + 16, false},
        {16, true}, {15, false}, /* exactly a window behind, one more */
        {WINDOW * 4, true}, {WINDOW * 4 - (WINDOW - 1), true}, {10, false},
        {WINDOW * 4 - WINDOW, true}, {WINDOW * 4 - (WINDOW + 1), false}, {WINDOW * 4 - (WINDOW - 2), true},
        {WINDOW * 4 + 1 - WINDOW, false}, {0, false},
        {LIMIT, false}, {LIMIT - 2, true}, {LIMIT - 2, false}, {LIMIT - 3, true},
        {LIMIT - 3, false}, {LIMIT - 1, true}, {LIMIT - 1, false}, {LIMIT, false}, {LIMIT + 1, false}, {UINT64_MAX, false}, {0, false},
    };
    replay_init(&r);
    for (size_t i = 0; i < sizeof step / sizeof *step; i++)
        CHECK(try(step[i].counter) == step[i].accepted);
}

static void runs(void)
{
    replay_init(&r);
    for (uint64_t i = 1; i <= WINDOW; i++)
        CHECK(try(i));
    CHECK(try(0) && !try(0));

    replay_init(&r);
    for (uint64_t i = 2; i <= WINDOW + 1; i++)
        CHECK(try(i));
    CHECK(try(1) && !try(0));

    replay_init(&r);
    for (uint64_t i = WINDOW + 1; i-- > 0;)
        CHECK(try(i));

    replay_init(&r);
    for (uint64_t i = WINDOW + 2; i-- > 1;)
        CHECK(try(i));
    CHECK(!try(0));

    replay_init(&r);
    for (uint64_t i = WINDOW; i-- > 1;)
        CHECK(try(i));
    CHECK(try(WINDOW + 1) && !try(0));

    replay_init(&r);
    for (uint64_t i = WINDOW; i-- > 1;)
        CHECK(try(i));
    CHECK(try(0) && try(WINDOW + 1));
}

/* Bits of counters that are long gone must not survive a jump. */
static void jumps(void)
{
    static const uint64_t jump[] = {1, 63, 64, 65, 127, 8127, 8128, 8129, 8191, 8192, 8193, 20000, UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof jump / sizeof *jump; i++) {
        replay_init(&r);
        for (uint64_t c = 0; c < 8192; c++)
            CHECK(try(c));
        uint64_t top = 8191 + jump[i], low = top > WINDOW ? top - WINDOW : 0;
        CHECK(try(top));
        for (uint64_t c = top - 1; c + 1 > low && c != UINT64_MAX; c--)
            CHECK(try(c) == (c > 8191));
    }
}

/* Against a list of everything accepted so far. */
static void oracle(void)
{
    enum { SPAN = 60000 };
    static bool seen[SPAN];
    uint64_t top = 0;
    bool any = false;
    replay_init(&r);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t drift = i / 5;
        uint64_t c = drift + rnd(i % 100 ? 300 : 12000);
        bool want = c < SPAN && !seen[c] && !(any && c + WINDOW < top);
        if (c >= SPAN)
            continue;
        CHECK(try(c) == want);
        if (want) {
            seen[c] = any = true;
            top = c > top ? c : top;
        }
    }
}

int main(void)
{
    table();
    runs();
    jumps();
    oracle();
    return 0;
}
