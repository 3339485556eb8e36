/* Which handshake messages are worth the core's time (paper, section 5.3): the checks that
 * come before public-key cryptography, in the order of their cost, in front of the queue.
 * Nothing is charged to a source before it has shown a cookie of ours, so that nobody can
 * spend what belongs to an address that is not his. wgpy/protocol/admission.py is the
 * executable specification. */
#ifndef WG_ADMISSION_H
#define WG_ADMISSION_H

#include <pthread.h>

#include "macs.h"
#include "ratelimit.h"

enum {
    WG_UNDER_LOAD_DEPTH = 512,   /* waiting messages at which load begins */
    WG_UNDER_LOAD_RATE = 50,     /* unproven messages a second above which it goes on */
    WG_ANSWERS = 4,              /* responses to one initiation that need no cookie */
    WG_COOKIE_REPLIES = 100,     /* cookie replies a second that the core is given */
    WG_COOKIE_REPLIES_BURST = 50,
    WG_ADMITTED = 4096,          /* a power of two */
};
#define WG_UNDER_LOAD_HOLD (5 * WG_SECOND)
#define WG_COOKIE_LIFETIME (120 * WG_SECOND)

struct wg_plane;

struct wg_admission {
    pthread_mutex_t lock;        /* of all below the keys; innermost */
    const struct wg_macs *macs;
    void *sealer;
    bool has_key;                /* these three change under the plane's write lock */
    uint8_t mac1_key[32], cookie_key[32];
    uint8_t secret[32];          /* of cookies */
    uint64_t secret_until;
    uint8_t entropy[10 * WG_XNONCE]; /* so little comes whole, whatever signals do */
    uint32_t entropy_left;
    _Atomic uint64_t load_until;
    uint64_t window;             /* begin of the second in which `unproven` is counted */
    uint32_t unproven;
    uint64_t cookie_budget;
    uint64_t admitted[WG_ADMITTED]; /* parts of the MAC2 of what was let in under this secret */
    struct wg_limiter limiter;
    _Atomic uint16_t waiting[WG_REPLY_SOURCES]; /* replies in the lane, by a hash of the source */
};

int admission_init(struct wg_admission *, const struct wg_macs *); /* 0, -ENOMEM, -EIO */
void admission_free(struct wg_admission *);
/* NULL: no key, and every initiation and response is refused. */
void admission_set_key(struct wg_admission *, const uint8_t *public_key);
bool admission_under_load(const struct wg_admission *, uint64_t now);

/* Takes the oldest reply from the lane, which has one. Of one source a few are let wait, so that
 * it cannot fill the lane: fairness of a queue, which is forgotten as it empties, and no charge
 * to an address that is not proven. */
void admission_pop_reply(struct wg_plane *);

/* A message of type 1 to 3 and exactly its length. WG_DROP_COUNT when it was put into a
 * queue for the core, else why not; a cookie reply may have been put into its lane. */
enum wg_drop admission_judge(struct wg_plane *, const uint8_t *message, uint32_t len,
                             const struct wg_endpoint *from, uint64_t now);

#endif
