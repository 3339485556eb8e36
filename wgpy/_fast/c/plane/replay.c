/* The window of a keypair: guarded by the keypair's lock where there is more than one queue. */
#include "replay.h"

void replay_init(struct wg_replay *r) { memset(r, 0, sizeof *r); }

static uint64_t word_of(uint64_t counter) { return counter / 64 % WG_REPLAY_WORDS; }

bool replay_check(const struct wg_replay *r, uint64_t counter)
{
    if (counter >= WG_REJECT_AFTER_MESSAGES)
        return false;
    if (counter >= r->next)
        return true;
    if (r->next - 1 - counter > WG_REPLAY_WINDOW)
        return false;
    return !(r->bits[word_of(counter)] >> (counter % 64) & 1);
}

bool replay_mark(struct wg_replay *r, uint64_t counter)
{
    if (!replay_check(r, counter))
        return false;
    if (counter >= r->next) {
        uint64_t top = r->next ? (r->next - 1) / 64 : 0;
        uint64_t fresh = counter / 64 - top;
        if (fresh > WG_REPLAY_WORDS)
            fresh = WG_REPLAY_WORDS;
        for (uint64_t i = 1; i <= fresh; i++)
            r->bits[(top + i) % WG_REPLAY_WORDS] = 0;
        r->next = counter + 1;
    }
    r->bits[word_of(counter)] |= UINT64_C(1) << (counter % 64);
    return true;
}
