/* Which handshake messages are worth the core's time (paper, section 5.3): the checks that
 * come before public-key cryptography, in the order of their cost, in front of the queue.
 * Nothing is charged to a source before it has shown a cookie of ours, so that nobody can
 * spend what belongs to an address that is not his. wgpy/protocol/admission.py is the
 * executable specification. */
#ifndef WG_ADMISSION_H
#define WG_ADMISSION_H

#include <pthread.h>

#include "aead/macs.h"
#include "ratelimit.h"

enum {
    WG_UNDER_LOAD_DEPTH = 512,   /* waiting messages at which load begins */
    WG_UNDER_LOAD_RATE = 50,     /* unproven messages a second above which it goes on */
    WG_ANSWERS = 4,              /* responses to one initiation that need no cookie */
    WG_COOKIE_REPLIES = 100,     /* cookie replies a second that the core is given */
    WG_COOKIE_REPLIES_BURST = 50,
    WG_ADMITTED = 4096,          /* a power of two */
    WG_ASKED = 256,
    WG_KNOWN = 4096, WG_KNOWN_WAYS = 8,
    WG_REPLIES_A_BATCH = 32,
};
#define WG_UNDER_LOAD_HOLD (5 * WG_SECOND)
#define WG_COOKIE_LIFETIME (120 * WG_SECOND)

struct wg_plane;

struct wg_asked {
    uint8_t mac1[WG_MAC_MAX], addr[16];
    uint32_t family, port, scope;
};

struct wg_admission {
    pthread_mutex_t lock;        /* of all below the keys; innermost */
    const struct wg_macs *macs;
    void *sealer;
    bool has_key;                /* these three change under the plane's write lock */
    struct wg_mac_key mac1_key;
    uint8_t cookie_key[WG_KEY_MAX];
    struct wg_mac_key secret;    /* of cookies */
    uint64_t secret_until;
    uint8_t entropy[240];        /* so little comes whole, whatever signals do */
    uint32_t entropy_left;
    _Atomic uint64_t load_until;
    uint64_t window;             /* begin of the second in which `unproven` is counted */
    uint32_t unproven;
    struct wg_asked asked[WG_ASKED]; /* for a cookie in this second */
    uint64_t cookie_budget;
    uint64_t admitted[WG_ADMITTED]; /* parts of the MAC2 of what was let in under this secret */
    struct wg_limiter limiter;
    /* replies in the lane, by a hash of the network, of the source, and of its address and port */
    _Atomic uint16_t waiting_in_net[WG_REPLY_SOURCES], waiting[WG_REPLY_SOURCES], waiting_at_port[WG_REPLY_SOURCES];
    _Atomic uint64_t known[WG_KNOWN]; /* hashes of address and port, 0: none */
};

int admission_init(struct wg_admission *, const struct wg_macs *); /* 0, -ENOMEM, -EIO */
void admission_free(struct wg_admission *);
/* NULL: no key, and every initiation and response is refused. False when nothing could be derived of it. */
bool admission_set_key(struct wg_admission *, const uint8_t *public_key);
bool admission_under_load(const struct wg_admission *, uint64_t now);

/* A peer is here, as somebody with its key or an administrator said. Replies to where peers are, or
 * were, have a part of the lane that all others leave free. Of those that were told of one after the
 * other the last few thousand are remembered. */
void admission_know(struct wg_admission *, const struct wg_endpoint *);

/* How many replies may leave with a batch: a share of it, of the sink, whose `room` it is, and, while
 * data leave, of the time, of which *spent is the caller's budget. So these and handshakes of ours go
 * on under a flood. */
uint32_t admission_replies_due(struct wg_plane *, uint64_t *spent, uint32_t room, uint64_t now);

/* Takes the oldest reply from the lane, which has one. Of one network, of one source in it and of one
 * port of that a few are let wait, so that none fills the lane: fairness of a queue, which is forgotten
 * as it empties, and no charge to an address that is not proven. */
void admission_pop_reply(struct wg_plane *);

/* A message of type 1 to 3 and exactly its length. WG_DROP_COUNT when it was put into a
 * queue for the core, else why not; a cookie reply may have been put into its lane. */
enum wg_drop admission_judge(struct wg_plane *, const uint8_t *message, uint32_t len,
                             const struct wg_endpoint *from, uint64_t now);

#endif
