/* What the two files of the seal stage share: seal.c seals the packets of a batch, pull.c is what
 * happens between batches. */
#ifndef WG_SEAL_H
#define WG_SEAL_H

#include "stage.h"

bool seal_pull(struct wg_stage *, struct wg_batch *);
void seal_sent(struct wg_stage *, struct wg_batch *);

/* The control side is asked for a key of the peer, every 5 s at most. */
void seal_ask_for_key(struct wg_plane *, uint32_t slot, uint64_t now);

/* The peer's endpoint, of which no hint says that the batch has it: its index, or -1. */
int seal_add_endpoint(struct wg_seal_stage *, struct wg_batch *, uint32_t slot);

/* The peer's endpoint in this batch, copied once. Its index, or -1 when it has none
 * or the batch is out of places. */
static inline int endpoint_of(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    uint16_t hint = s->ep_hint[slot % WG_EP_HINTS];
    return hint < b->endpoints && s->ep_peer[hint] == slot ? hint : seal_add_endpoint(s, b, slot);
}

static inline struct wg_keypair *usable_key(struct wg_peer *peer, uint64_t now)
{
    uint8_t at = atomic_load_explicit(&peer->current, memory_order_acquire);
    if (at == NO_KEYPAIR)
        return NULL;
    struct wg_keypair *kp = &peer->keypair[at];
    bool young = now < kp->birth + WG_REJECT_AFTER_TIME;
    return young && relaxed(&kp->counter) < WG_REJECT_AFTER_MESSAGES ? kp : NULL;
}

#endif
