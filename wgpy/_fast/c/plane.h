/* The plane: peers, keypairs, allowed IPs, staged packets and what the control side
 * exchanges with the pumps. Two stages, seal and open, work on it from their own
 * threads; one control thread changes it.
 *
 * Locks: each stage holds its own lock while it runs a batch; the control thread takes
 * all of them to change structure (plane_write_lock), so that whatever it removed is
 * in nobody's hands when it goes on. peer->lock guards the endpoint, the staged queue
 * and promotion; keypair->lock the replay window. Order: stage, peer, keypair; admission->lock
 * comes after stage and before those of lanes and queues. */
#ifndef WG_PLANE_H
#define WG_PLANE_H

#include <pthread.h>

#include "aead.h"
#include "admission.h"
#include "icmp.h"
#include "index.h"
#include "lane.h"
#include "port.h"
#include "replay.h"
#include "share.h"
#include "staged.h"
#include "trie.h"

/* bits of notices, the same as in wgpy/protocol/notices.py */
enum {
    NOTICE_KEY_NEEDED = 1, NOTICE_CONFIRMED = 2, NOTICE_REKEY_SEND = 4, NOTICE_REKEY_RECEIVE = 8,
    NOTICE_DATA_SENT = 16, NOTICE_DATA_RECEIVED = 32, NOTICE_ROAMED = 64,
};
/* bits of what the control side wants of the seal stage */
enum { WANT_KEEPALIVE = 1, WANT_FLUSH = 2 };

enum { NO_KEYPAIR = 3, KEYPAIRS = 3 };

struct wg_keypair {
    bool exists;
    bool initiator;
    _Atomic bool retired;    /* pushed out by a promotion; wiped by plane_reap */
    uint32_t local, remote;  /* receiver indices */
    uint64_t birth;
    _Atomic uint64_t counter; /* next to send */
    _Atomic uint64_t rekey_raised; /* when REKEY_SEND was last raised */
    _Atomic bool lastminute_raised;
    pthread_mutex_t lock;
    struct wg_replay replay;
    void *seal_ctx[WG_QUEUES_MAX], *open_ctx[WG_QUEUES_MAX];
};

struct wg_peer {
    bool used;
    bool awaits;             /* a response to our initiation with the index `awaited` */
    uint8_t answers;         /* that it may get for nothing under load; admission->lock */
    uint32_t awaited;
    uint32_t since;          /* plane->removals when it was added */
    _Atomic uint8_t current, previous, next; /* index into keypair, or NO_KEYPAIR */
    struct wg_keypair keypair[KEYPAIRS];
    pthread_mutex_t lock;
    struct wg_endpoint endpoint;
    uint64_t followed;       /* when the batch was received that the endpoint is from */
    struct wg_staged staged;
    struct wg_peer_share share;
    _Atomic uint32_t armed;  /* DATA_SENT, DATA_RECEIVED already raised */
    _Atomic uint64_t key_needed_at;
    _Atomic uint64_t unanswered_since, unacknowledged_since;
    _Atomic uint64_t last_data_received, last_received, last_sent;
    _Atomic uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
};

struct wg_stage_lock {
    _Alignas(64) pthread_mutex_t mutex;
};

struct wg_plane {
    uint32_t max_peers, queues;
    uint32_t free_from;      /* no slot below is free */
    uint32_t removals;       /* of peers, ever: a slot may have changed hands */
    const struct wg_aead *aead;
    struct wg_trie *trie;
    struct wg_peer *peer;
    struct wg_index index;
    struct wg_pool pool;
    struct wg_marks notices, wants;
    struct wg_lane to_udp, to_tun;   /* datagrams for seal's sink, packets for open's */
    struct wg_lane replies;          /* cookie replies, which crowd out nothing of ours */
    struct wg_handshakes handshakes, cookies; /* initiations and responses; cookie replies */
    struct wg_admission admission;
    struct wg_share share;
    struct icmp_bucket icmp;
    struct wg_waker up, seal_waker, open_waker; /* notices up, work down */
    pthread_mutex_t door;
    _Atomic bool writer;
    struct wg_stage_lock stage_lock[2 * WG_QUEUES_MAX];
    wg_counter drops[WG_DROP_COUNT]; /* by the control thread */
};

/* A plane for `queues` pairs of stages; NULL without memory. */
struct wg_plane *plane_new(uint32_t max_peers, uint32_t prefixes, uint32_t queues,
                           const struct wg_aead *aead, const struct wg_macs *macs);
/* No pump may run any more. */
void plane_free(struct wg_plane *);

void plane_write_lock(struct wg_plane *);
void plane_write_unlock(struct wg_plane *);
void plane_read_lock(struct wg_plane *, uint32_t stage);
void plane_read_unlock(struct wg_plane *, uint32_t stage);

/* The control thread's calls; they lock for themselves. */
uint32_t plane_add_peer(struct wg_plane *); /* WG_NO_PEER when full */
void plane_remove_peer(struct wg_plane *, uint32_t slot);
/* 0 or -ENOMEM. Rotation as in noise.c:add_new_keypair of the Linux module. */
int plane_install(struct wg_plane *, uint32_t slot, const struct wg_keypair *facts,
                  const uint8_t send_key[WG_KEY], const uint8_t receive_key[WG_KEY]);
uint32_t plane_live_indices(struct wg_plane *, uint32_t slot, uint32_t out[KEYPAIRS]);
void plane_expire(struct wg_plane *, uint32_t slot, uint64_t born_before);
uint32_t plane_purge(struct wg_plane *, uint32_t slot);
/* The public key that messages to us are made for; NULL: none. */
void plane_set_key(struct wg_plane *, const uint8_t *public_key);
/* The index of our latest initiation to the peer, until a response is accepted; and that
 * there is none. */
void plane_await(struct wg_plane *, uint32_t slot, uint32_t local_index);
void plane_await_none(struct wg_plane *, uint32_t slot);
void plane_rearm(struct wg_plane *, uint32_t slot, uint32_t bits);
void plane_set_endpoint(struct wg_plane *, uint32_t slot, const struct wg_endpoint *);
void plane_get_endpoint(struct wg_plane *, uint32_t slot, struct wg_endpoint *out);
void plane_clear_source(struct wg_plane *, uint32_t slot);
/* As trie_insert, trie_remove and trie_lookup; an address of `len` bytes, and -EINVAL or
 * WG_NO_PEER when that is neither 4 nor 16. */
int plane_allow(struct wg_plane *, uint32_t slot, const uint8_t *addr, size_t len, unsigned cidr);
int plane_disallow(struct wg_plane *, uint32_t slot, const uint8_t *addr, size_t len, unsigned cidr);
void plane_disallow_all(struct wg_plane *, uint32_t slot);
uint32_t plane_lookup(const struct wg_plane *, const uint8_t *addr, size_t len);
void plane_want(struct wg_plane *, uint32_t slot, uint32_t bits);

/* The stages' calls, under their read lock. */
struct wg_keypair *plane_find(struct wg_plane *, uint32_t local_index, uint32_t *slot);
/* Is the index one of a keypair or of an initiation? And if of an initiation, how many
 * responses to it need no cookie, else NULL. */
bool plane_knows(const struct wg_plane *, uint32_t local_index);
uint8_t *plane_awaits(struct wg_plane *, uint32_t local_index);
void plane_raise(struct wg_plane *, uint32_t slot, uint32_t bits);
/* `kp` authenticated a packet: a next keypair becomes current. */
void plane_confirm(struct wg_plane *, uint32_t slot, struct wg_keypair *kp);

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

/* What packets of a batch claim for a peer. */
struct wg_claim {
    uint32_t slot;
    bool greedy;
    uint64_t cost, excess;
};

/* One stage object a queue and direction. */
struct wg_crypto_stage {
    struct wg_stage stage; /* first: the pump sees only this */
    struct wg_plane *plane;
    uint32_t queue, lock;
    _Atomic uint32_t mtu;  /* seal: padding stops here */
    uint32_t ep_peer[WG_BATCH_PACKETS]; /* seal: whose endpoint batch->endpoint[i] is */
    uint16_t ep_hint[WG_EP_HINTS];      /* seal: where the last peer of this hash is among them */
    uint32_t pulled_endpoints;          /* seal: how many of them pull added to this batch */
    uint32_t pulled_at;                 /* seal: plane->removals then */
    struct wg_aead_job job[WG_BATCH_PACKETS];
    uint32_t jobs;                      /* seal: between begin and finish */
    uint32_t job_packet[WG_BATCH_PACKETS];
    struct wg_keypair *job_key[WG_BATCH_PACKETS];
    struct wg_keypair *window;          /* open: whose lock is held */
    struct wg_tally tally;
    struct wg_claim claim[WG_BATCH_PACKETS]; /* open, under pressure: of the batch */
    uint32_t claimed;                   /* open: the latest of them */
    struct wg_recent recent[WG_RECENT];
    uint32_t recent_version;            /* of the trie that gave them */
};
void seal_stage_init(struct wg_crypto_stage *, struct wg_plane *, uint32_t queue, uint32_t mtu);
void open_stage_init(struct wg_crypto_stage *, struct wg_plane *, uint32_t queue);

/* Before the first plane_owner under a read lock: forgets what may have changed. */
static inline void plane_begin_run(struct wg_crypto_stage *s)
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
static inline uint32_t plane_owner(struct wg_crypto_stage *s, uint8_t family, const uint8_t *addr)
{
    struct wg_recent *r = &s->recent[recent_place(family, addr)];
    if (r->family == family && !(family == 4 ? memcmp(r->addr, addr, 4) : memcmp(r->addr, addr, 16)))
        return r->peer;
    r->family = family;
    memcpy(r->addr, addr, family == 4 ? 4 : 16);
    r->peer = trie_lookup(s->plane->trie, family, addr);
    return r->peer;
}

static inline uint64_t relaxed(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}
static inline void add_atomic(_Atomic uint64_t *v, uint64_t n)
{
    atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}
static inline void set_relaxed(_Atomic uint64_t *v, uint64_t to)
{
    atomic_store_explicit(v, to, memory_order_relaxed);
}

#endif
