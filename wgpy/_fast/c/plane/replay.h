/* RFC 6479 anti-replay window over 64-bit counters. Of WG_REPLAY_BITS one word is
 * always being reused, so counters up to WG_REPLAY_WINDOW behind the highest are told
 * apart, on 32-bit machines too. Not thread-safe: the keypair's lock covers it. */
#ifndef WG_REPLAY_H
#define WG_REPLAY_H

#include "core/wg.h"

enum { WG_REPLAY_WORDS = WG_REPLAY_BITS / 64, WG_REPLAY_WINDOW = WG_REPLAY_BITS - 64 };

struct wg_replay {
    uint64_t next; /* one more than the highest counter accepted; 0: none yet */
    uint64_t bits[WG_REPLAY_WORDS];
};

void replay_init(struct wg_replay *r);
/* Would `counter` be accepted? Changes nothing: called before the tag is checked.
 * Refuses counters at or above WG_REJECT_AFTER_MESSAGES, those behind the window
 * and those already marked. */
bool replay_check(const struct wg_replay *r, uint64_t counter);
/* Marks an authenticated counter; false if it was refused after all (two packets of
 * the same counter in one batch). */
bool replay_mark(struct wg_replay *r, uint64_t counter);

#endif
