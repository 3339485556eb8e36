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

#include "aead/aead.h"
#include "admission.h"
#include "icmp.h"
#include "index.h"
#include "lane.h"
#include "core/lengths.h"
#include "core/port.h"
#include "replay.h"
#include "share.h"
#include "staged.h"
#include "trie.h"

/* Bits of notices; wgpy/notices.py says what they mean, and a test that both have the same. */
enum {
    NOTICE_KEY_NEEDED = 1, NOTICE_CONFIRMED = 2, NOTICE_REKEY_SEND = 4, NOTICE_REKEY_RECEIVE = 8,
    NOTICE_DATA_SENT = 16, NOTICE_DATA_RECEIVED = 32, NOTICE_ROAMED = 64,
};
/* bits of what the control side wants of the seal stage */
enum { WANT_KEEPALIVE = 1, WANT_FLUSH = 2 };

enum { NO_KEYPAIR = 3, KEYPAIRS = 3 };

/* a reference of an index: slot * WG_REFS + keypair or WG_REF_AWAITED, + 1 */
enum { WG_REF_AWAITED = KEYPAIRS, WG_REFS = KEYPAIRS + 1 };

struct wg_keypair {
    bool exists;
    bool initiator;
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
    _Atomic uint32_t promoted; /* local index of the latest next keypair that became current, see NOTICE_CONFIRMED */
    struct wg_keypair keypair[KEYPAIRS];
    pthread_mutex_t lock;
    struct wg_endpoint endpoint;
    uint64_t followed;       /* when the batch was received that the endpoint is from */
    _Atomic uint32_t via;    /* slot + 1 of the peer through which what we send to this one was
                                seen to go, see loop.h; 0: none */
    _Atomic uint64_t via_at; /* when */
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
    struct wg_lengths lengths; /* they follow from its sizes and those of the MACs */
    struct wg_trie *trie;
    struct wg_peer *peer;
    struct wg_index index;   /* by our indices */
    struct wg_index remotes; /* of keypairs, by plane_remote_key of the peer's index */
    struct wg_pool pool;
    struct wg_marks notices, wants;
    struct wg_lane to_udp, to_tun;   /* datagrams for seal's sink, packets for open's */
    struct wg_lane replies;          /* cookie replies, which crowd out nothing of ours */
    struct wg_handshakes handshakes, cookies; /* initiations and responses; cookie replies */
    struct wg_admission admission;
    _Atomic uint64_t data_left;      /* when packets were last sealed */
    struct wg_share share;
    struct icmp_bucket icmp; /* under the lock of to_tun */
    struct wg_waker up, seal_waker, open_waker; /* notices up, work down */
    pthread_mutex_t door;
    _Atomic bool writer;
    struct wg_stage_lock stage_lock[2 * WG_QUEUES_MAX];
    wg_counter drops[WG_DROP_COUNT]; /* by the control thread */
};

/* Of messages with these tables. */
struct wg_lengths plane_lengths(const struct wg_aead *, const struct wg_macs *);
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
/* Local indices of keypairs that are gone because of a call, which appends them; a NULL is nobody
 * who wants to know. */
struct wg_freed {
    uint32_t count, local[KEYPAIRS];
};
/* 0 or -ENOMEM. Keys of the AEAD's size. Rotation as in noise.c:add_new_keypair of the Linux module. */
int plane_install(struct wg_plane *, uint32_t slot, const struct wg_keypair *facts,
                  const uint8_t *send_key, const uint8_t *receive_key, struct wg_freed *);
void plane_expire(struct wg_plane *, uint32_t slot, uint64_t born_before, struct wg_freed *);
uint32_t plane_live_indices(struct wg_plane *, uint32_t slot, uint32_t out[KEYPAIRS]);
uint32_t plane_purge(struct wg_plane *, uint32_t slot);
/* The public key that messages to us are made for; NULL: none. False when the suite cannot, and then
 * there is none. */
bool plane_set_key(struct wg_plane *, const uint8_t *public_key);
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
/* Prefixes of all peers, as trie_walk; and how many there are. */
void plane_prefixes(const struct wg_plane *, trie_each each, void *arg);
uint32_t plane_prefix_count(const struct wg_plane *);
void plane_want(struct wg_plane *, uint32_t slot, uint32_t bits);
bool plane_has(const struct wg_plane *, uint32_t slot); /* is the slot a peer's? */
/* Puts a datagram of ours into the seal stage's lane and counts it: to the peer's endpoint, or
 * for WG_NO_PEER to the one given. 0, -EMSGSIZE, or -ENOBUFS, which is a counted drop. */
int plane_send(struct wg_plane *, const uint8_t *datagram, size_t len, uint32_t slot, uint8_t tos,
               const struct wg_endpoint *);
/* A handshake message of so many bytes turned out to be this peer's. */
void plane_received(struct wg_plane *, uint32_t slot, uint32_t octets);
/* Moves the current keypair's counter, to test its limits. */
void plane_set_counter(struct wg_plane *, uint32_t slot, uint64_t counter);

/* A call of plane_notices_begin, then plane_notices_next until it is false: what is raised
 * after the first makes plane->up readable again, as do handshake messages that wait still. */
struct wg_notice {
    uint32_t slot, bits;
    uint32_t promoted;       /* with NOTICE_CONFIRMED: the local index that became current */
};
void plane_notices_begin(struct wg_plane *);
bool plane_notices_next(struct wg_plane *, struct wg_notice *);
/* The oldest admitted message: an initiation or a response, or of `cookies` a cookie reply.
 * And how many of all wait. */
bool plane_take_handshake(struct wg_plane *, bool cookies, struct wg_handshake *);
uint32_t plane_handshake_depth(struct wg_plane *);
bool plane_under_load(const struct wg_plane *, uint64_t now);

/* What a peer's timers need to know, and what it has sent and received; each number for itself. */
struct wg_activity {
    uint64_t unanswered_since, unacknowledged_since, last_data_received, last_received, last_sent;
};
struct wg_stats {
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
    uint32_t staged;
};
void plane_activity(const struct wg_plane *, uint32_t slot, struct wg_activity *);
void plane_stats(const struct wg_plane *, uint32_t slot, struct wg_stats *);

/* The stages' calls, under their read lock. */
struct wg_keypair *plane_find(struct wg_plane *, uint32_t local_index, uint32_t *slot);
/* Is the index one of a keypair or of an initiation? And if of an initiation, how many
 * responses to it need no cookie, else NULL. */
bool plane_knows(const struct wg_plane *, uint32_t local_index);
uint8_t *plane_awaits(struct wg_plane *, uint32_t local_index);
void plane_raise(struct wg_plane *, uint32_t slot, uint32_t bits);
/* `kp` authenticated a packet: a next keypair becomes current. That frees no index. */
void plane_confirm(struct wg_plane *, uint32_t slot, struct wg_keypair *kp);

/* Peers choose their indices: unpredictable to them, where these have their place. */
static inline uint32_t plane_remote_key(const struct wg_plane *p, uint32_t remote)
{
    return (uint32_t)siphash(p->admission.limiter.seed, remote, 0);
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
