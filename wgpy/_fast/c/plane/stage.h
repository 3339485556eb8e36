/* The two stages over a plane. Each queue has one of both; a stage belongs to the thread that
 * runs it, and nothing of it is locked but what a stage's own lock in the plane guards: that
 * is held from begin to finish. */
#ifndef WG_STAGE_H
#define WG_STAGE_H

#include "plane.h"

/* What a run of packets of one keypair adds to its peer, written once a run. */
struct wg_tally {
    uint32_t slot;
    struct wg_keypair *key; /* NULL: empty */
    uint64_t bytes, packets;
    bool data;              /* not only keepalives */
};

enum { WG_EP_HINTS = 256, WG_RECENT = 256 };

/* An answer of the trie, kept at a hash of the address: a train asks for one address, a
 * crowd for the same few. It counts only under the read lock. */
struct wg_recent {
    uint8_t family;         /* 0: none */
    uint8_t addr[16];
    uint32_t peer;
};

/* What both have. */
struct wg_plane_stage {
    struct wg_stage stage;      /* first: the pump sees only this */
    struct wg_plane *plane;
    uint32_t queue, lock;       /* which of plane->stage_lock it holds */
    uint32_t overhead;          /* plane->lengths has it, too */
    uint32_t recent_version;    /* of the trie that gave `recent` */
    struct wg_tally tally;
    struct wg_recent recent[WG_RECENT];
    struct wgpy_packet job[WG_BATCH_PACKETS];
};

struct wg_seal_stage {
    struct wg_plane_stage base; /* first */
    _Atomic uint32_t mtu;       /* padding stops here; the control thread's to change */
    uint32_t jobs;              /* between begin and finish */
    uint64_t replies_at;        /* a budget of cookie replies */
    uint32_t pulled_endpoints;  /* how many of the endpoints pull added to this batch */
    uint32_t pulled_at;         /* plane->removals then */
    uint32_t ep_peer[WG_BATCH_PACKETS]; /* whose endpoint batch->endpoint[i] is */
    uint16_t ep_hint[WG_EP_HINTS];      /* where the last peer of this hash is among them */
};
void seal_stage_init(struct wg_seal_stage *, struct wg_plane *, uint32_t queue, uint32_t mtu);

/* What packets of a batch claim for a peer. */
struct wg_claim {
    uint32_t slot;
    bool greedy;
    uint64_t cost, excess;
};

struct wg_open_stage {
    struct wg_plane_stage base; /* first */
    struct wg_keypair *window;  /* whose lock is held */
    uint32_t job_packet[WG_BATCH_PACKETS];
    struct wg_keypair *job_key[WG_BATCH_PACKETS];
    uint32_t claimed;           /* the latest claim; under pressure */
    struct wg_claim claim[WG_BATCH_PACKETS];
};
void open_stage_init(struct wg_open_stage *, struct wg_plane *, uint32_t queue);

/* Before the first plane_owner under a read lock: forgets what may have changed. */
static inline void plane_begin_run(struct wg_plane_stage *s)
{
    if (s->recent_version == trie_version(s->plane->trie))
        return;
    s->recent_version = trie_version(s->plane->trie);
    memset(s->recent, 0, sizeof s->recent);
}

static inline uint32_t recent_place(uint8_t family, const uint8_t *addr)
{
    uint32_t w[4] = {0};
    memcpy(w, addr, family == 4 ? 4 : 16);
    return ((w[0] ^ w[1] * 5 ^ w[2] * 9 ^ w[3] * 17) * UINT32_C(0x9e3779b1)) >> 24;
}
_Static_assert(WG_RECENT == 1 << 8, "recent_place gives 8 bits");

/* trie_lookup for the packets of a run. */
static inline uint32_t plane_owner(struct wg_plane_stage *s, uint8_t family, const uint8_t *addr)
{
    struct wg_recent *r = &s->recent[recent_place(family, addr)];
    if (r->family == family && !(family == 4 ? memcmp(r->addr, addr, 4) : memcmp(r->addr, addr, 16)))
        return r->peer;
    r->family = family;
    memcpy(r->addr, addr, family == 4 ? 4 : 16);
    r->peer = trie_lookup(s->plane->trie, family, addr);
    return r->peer;
}

#endif
