/* Owns struct wg_admission. Its lock guards all but the keys (the plane's write lock) and
 * `load_until`, where peers are, and the counts of waiting replies, which are atomic: pull of the seal
 * stage counts down without it. It is held by threads that open, and inside it only the locks of lanes and
 * queues are taken. `answers` of a peer is guarded by it too. */
#include "admission.h"

#include <errno.h>
#include <sys/random.h>

#include "plane.h"

enum {
    REPLIES_LEAVE = WG_FULL * 3 / 4,
    REPLIES_BESIDE = 20000, REPLIES_BURST = 64, /* a second, while data leave */
};
#define DATA_LEAVE (WG_SECOND / 10) /* so long after the last of them */

int admission_init(struct wg_admission *a, const struct wg_macs *macs)
{
    pthread_mutex_init(&a->lock, NULL);
    a->macs = macs;
    a->sealer = macs->sealer_new();
    if (!a->sealer)
        return -ENOMEM;
    size_t size = sizeof a->limiter.seed;
    return getrandom(a->limiter.seed, size, 0) == (ssize_t)size ? 0 : -EIO;
}

void admission_free(struct wg_admission *a)
{
    if (a->sealer)
        a->macs->sealer_free(a->sealer);
    wipe(a, sizeof *a);
}

bool admission_set_key(struct wg_admission *a, const uint8_t *public_key)
{
    a->has_key = public_key && a->macs->keys(a->macs, public_key, &a->mac1_key, a->cookie_key);
    return a->has_key || !public_key;
}

bool admission_under_load(const struct wg_admission *a, uint64_t now)
{
    return atomic_load_explicit(&a->load_until, memory_order_relaxed) > now;
}

/* --- where peers are: any thread reads and writes --- */

static _Atomic uint64_t *known_place(struct wg_admission *a, uint64_t flow)
{
    return &a->known[flow % (WG_KNOWN / WG_KNOWN_WAYS) * WG_KNOWN_WAYS];
}

static bool is_known(struct wg_admission *a, uint64_t flow)
{
    const _Atomic uint64_t *way = known_place(a, flow);
    for (int i = 0; i < WG_KNOWN_WAYS; i++)
        if (atomic_load_explicit(&way[i], memory_order_relaxed) == flow)
            return true;
    return false;
}

/* The oldest gives way. Two at once may lose one of them, until its peer is heard from again. */
void admission_know(struct wg_admission *a, const struct wg_endpoint *e)
{
    uint64_t flow = origin_flow(a->limiter.seed, e);
    _Atomic uint64_t *way = known_place(a, flow);
    if (is_known(a, flow))
        return;
    for (int i = WG_KNOWN_WAYS - 1; i; i--)
        atomic_store_explicit(&way[i], atomic_load_explicit(&way[i - 1], memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&way[0], flow, memory_order_relaxed);
}

/* In time that does not depend on where they differ. */
static bool same_mac(const struct wg_admission *a, const uint8_t *one, const uint8_t *other)
{
    uint8_t difference = 0;
    for (uint32_t i = 0; i < a->macs->mac_size; i++)
        difference |= one[i] ^ other[i];
    return !difference;
}

static const uint8_t *mac1_of(const struct wg_admission *a, const uint8_t *message, uint32_t len)
{
    return message + len - 2 * a->macs->mac_size;
}
static const uint8_t *mac2_of(const struct wg_admission *a, const uint8_t *message, uint32_t len)
{
    return message + len - a->macs->mac_size;
}

static bool mac1_is_valid(const struct wg_admission *a, const uint8_t *message, uint32_t len)
{
    const uint8_t *mac1 = mac1_of(a, message, len);
    uint8_t expected[WG_MAC_MAX];
    return a->has_key && a->macs->prepared(a->macs, &a->mac1_key, message, (size_t)(mac1 - message), expected) &&
           same_mac(a, expected, mac1);
}

/* --- the lock is held --- */

/* The cookie of an address and port; false when there is no entropy for a new secret, or no MAC. */
static bool cookie_of(struct wg_admission *a, const struct wg_endpoint *from, uint64_t now, uint8_t out[WG_MAC_MAX])
{
    uint8_t source[1 + 16 + 2 + 4] = {from->family};
    if (now >= a->secret_until) {
        uint8_t secret[WG_HASH_MAX];
        if (getrandom(secret, a->macs->key_size, 0) != (ssize_t)a->macs->key_size)
            return false;
        a->macs->prepare(a->macs, secret, a->macs->key_size, &a->secret);
        wipe(secret, sizeof secret);
        a->secret_until = now + WG_COOKIE_LIFETIME;
        memset(a->admitted, 0, sizeof a->admitted);
    }
    memcpy(source + 1, from->addr, from->family == 4 ? 4 : 16);
    put_be16(source + 17, from->port);
    put_be32(source + 19, from->scope);
    return a->macs->prepared(a->macs, &a->secret, source, sizeof source, out);
}

static bool take_nonce(struct wg_admission *a, uint8_t *out)
{
    if (a->entropy_left < a->macs->nonce_size) {
        if (getrandom(a->entropy, sizeof a->entropy, 0) != (ssize_t)sizeof a->entropy)
            return false;
        a->entropy_left = sizeof a->entropy;
    }
    a->entropy_left -= a->macs->nonce_size;
    memcpy(out, a->entropy + a->entropy_left, a->macs->nonce_size);
    return true;
}

/* Of the replies in the lane: those to a network, to a source, to an address and port. */
struct waiting {
    _Atomic uint16_t *of_net, *of_source, *of_port;
    uint64_t flow;
};

static _Atomic uint16_t *waiting_at_port(struct wg_admission *a, uint64_t flow)
{
    return &a->waiting_at_port[flow % WG_REPLY_SOURCES];
}

static struct waiting waiting_for(struct wg_admission *a, const struct wg_endpoint *e, uint64_t flow)
{
    const uint64_t *seed = a->limiter.seed;
    return (struct waiting){&a->waiting_in_net[origin_place(seed, origin_net(e), WG_REPLY_SOURCES)],
                            &a->waiting[origin_place(seed, origin_of(e), WG_REPLY_SOURCES)],
                            waiting_at_port(a, flow), flow};
}

static void wait_more(const struct waiting *w, int more)
{
    atomic_fetch_add_explicit(w->of_net, (uint16_t)more, memory_order_relaxed);
    atomic_fetch_add_explicit(w->of_source, (uint16_t)more, memory_order_relaxed);
    atomic_fetch_add_explicit(w->of_port, (uint16_t)more, memory_order_relaxed);
}

static bool fewer(const _Atomic uint16_t *waiting, uint16_t than)
{
    return atomic_load_explicit(waiting, memory_order_relaxed) < than;
}

/* Of a port that does not have its part already. Whom nobody has proven to be a peer leaves others
 * theirs; a peer's endpoint can be forged, so that it has no more of the lane than any port. */
static bool may_wait(struct wg_plane *p, const struct waiting *w)
{
    uint32_t depth = lane_depth(&p->replies);
    if (depth >= WG_REPLY_SLOTS)
        return false;
    return (depth < WG_REPLY_SLOTS - WG_REPLIES_KNOWN && fewer(w->of_net, WG_REPLIES_A_NET) &&
            fewer(w->of_source, WG_REPLIES_A_SOURCE)) || is_known(&p->admission, w->flow);
}

uint32_t admission_replies_due(struct wg_plane *p, uint64_t *spent, uint32_t room, uint64_t now)
{
    uint32_t most = lane_depth(&p->replies), due = 0;
    if (most > WG_REPLIES_A_BATCH)
        most = WG_REPLIES_A_BATCH;
    if (room < REPLIES_LEAVE)
        return 0;
    if (relaxed(&p->data_left) + DATA_LEAVE <= now)
        return most;
    while (due < most && budget_take(spent, REPLIES_BESIDE, REPLIES_BURST, now))
        due++;
    return due;
}

void admission_pop_reply(struct wg_plane *p)
{
    const struct wg_endpoint *to = &lane_peek(&p->replies)->endpoint;
    struct waiting w = waiting_for(&p->admission, to, origin_flow(p->admission.limiter.seed, to));
    wait_more(&w, -1);
    lane_pop(&p->replies);
}

/* A copy from where the first came from is not answered again; one from elsewhere may be the
 * first that its sender sent. */
static bool was_asked(struct wg_admission *a, const uint8_t *mac1, const struct wg_endpoint *from)
{
    struct wg_asked asked = {.family = from->family, .port = from->port, .scope = from->scope}, *place;
    memcpy(asked.mac1, mac1, a->macs->mac_size);
    memcpy(asked.addr, from->addr, from->family == 4 ? 4 : 16);
    place = &a->asked[get_le32(mac1) % WG_ASKED];
    if (!memcmp(place, &asked, sizeof asked))
        return true;
    *place = asked;
    return false;
}

/* What a message without a valid MAC2 gets under load. What comes too often is dropped before
 * it has cost more than its MAC1. */
static enum wg_drop demand_cookie(struct wg_plane *p, const uint8_t *message, uint32_t len,
                                  const struct wg_endpoint *from, uint64_t now)
{
    struct wg_admission *a = &p->admission;
    const uint8_t *mac1 = mac1_of(a, message, len);
    uint8_t reply[WG_COOKIE_REPLY_MAX] = {WG_COOKIE_REPLY}, cookie[WG_MAC_MAX];
    if (now >= a->window + WG_SECOND) {
        a->window = now;
        a->unproven = 0;
        memset(a->asked, 0, sizeof a->asked);
    }
    if (++a->unproven > WG_UNDER_LOAD_RATE)
        atomic_store_explicit(&a->load_until, now + WG_UNDER_LOAD_HOLD, memory_order_relaxed);
    uint64_t flow = origin_flow(a->limiter.seed, from);
    if (!fewer(waiting_at_port(a, flow), WG_REPLIES_A_PORT))
        return WG_DROP_cookie_lane;
    struct waiting waiting = waiting_for(a, from, flow);
    if (!may_wait(p, &waiting))
        return WG_DROP_cookie_lane;
    if (was_asked(a, mac1, from))
        return WG_DROP_handshake_copy;
    memcpy(reply + 4, message + 4, 4); /* their sender index */
    bool made = cookie_of(a, from, now, cookie) && take_nonce(a, reply + 8) &&
                a->macs->seal(a->macs, a->sealer, a->cookie_key, reply + 8, cookie, mac1, reply + 8 + a->macs->nonce_size);
    wipe(cookie, sizeof cookie);
    if (!made)
        return WG_DROP_cookie_lane;
    /* counted before it can be taken out; whoever puts holds the lock, so there is still room */
    wait_more(&waiting, 1);
    lane_put(&p->replies, reply, p->lengths.cookie_reply, WG_NO_PEER, WG_HANDSHAKE_TOS, from);
    return WG_DROP_cookie_demanded;
}

static bool mac2_is_valid(struct wg_admission *a, const uint8_t *message, uint32_t len, const struct wg_endpoint *from,
                          uint64_t now)
{
    static const uint8_t none[WG_MAC_MAX];
    const uint8_t *mac2 = mac2_of(a, message, len);
    uint8_t cookie[WG_MAC_MAX], expected[WG_MAC_MAX];
    struct wg_mac_key key;
    if (!memcmp(mac2, none, a->macs->mac_size) || !cookie_of(a, from, now, cookie))
        return false;
    a->macs->prepare(a->macs, cookie, a->macs->mac_size, &key);
    bool same = a->macs->prepared(a->macs, &key, message, (size_t)(mac2 - message), expected) && same_mac(a, expected, mac2);
    wipe(cookie, sizeof cookie);
    wipe(&key, sizeof key);
    wipe(expected, sizeof expected);
    return same;
}

/* Somebody may repeat what he saw: it was paid for once, and is not worth more. */
static bool is_copy(struct wg_admission *a, const uint8_t *mac2)
{
    uint64_t *place = &a->admitted[get_le32(mac2) % WG_ADMITTED], mark = get_le64(mac2 + 8) | 1;
    if (*place == mark)
        return true;
    *place = mark;
    return false;
}

/* Under load: `answers` are those that this initiation of ours may still get for nothing. */
static enum wg_drop under_load(struct wg_plane *p, const uint8_t *message, uint32_t len,
                               const struct wg_endpoint *from, uint8_t *answers, uint64_t now)
{
    struct wg_admission *a = &p->admission;
    if (answers && *answers) {
        --*answers;
        return WG_DROP_COUNT;
    }
    if (!mac2_is_valid(a, message, len, from, now))
        return demand_cookie(p, message, len, from, now);
    if (is_copy(a, mac2_of(a, message, len)))
        return WG_DROP_handshake_copy;
    return limiter_allow(&a->limiter, from, now) ? WG_DROP_COUNT : WG_DROP_rate_limited;
}

/* --- without it --- */

static enum wg_drop judge_cookie_reply(struct wg_plane *p, const uint8_t *message, const struct wg_endpoint *from,
                                       uint64_t now)
{
    if (!plane_knows(p, get_le32(message + 4)))
        return WG_DROP_unawaited;
    pthread_mutex_lock(&p->admission.lock);
    bool room = budget_take(&p->admission.cookie_budget, WG_COOKIE_REPLIES, WG_COOKIE_REPLIES_BURST, now) &&
                handshakes_put(&p->cookies, message, p->lengths.cookie_reply, from);
    pthread_mutex_unlock(&p->admission.lock);
    return room ? WG_DROP_COUNT : WG_DROP_cookie_replies;
}

enum wg_drop admission_judge(struct wg_plane *p, const uint8_t *message, uint32_t len,
                             const struct wg_endpoint *from, uint64_t now)
{
    struct wg_admission *a = &p->admission;
    uint8_t *answers = NULL;
    if (message[0] == WG_COOKIE_REPLY)
        return judge_cookie_reply(p, message, from, now);
    if (message[0] == WG_RESPONSE && !(answers = plane_awaits(p, get_le32(message + 8))))
        return WG_DROP_unawaited;
    if (!mac1_is_valid(a, message, len))
        return WG_DROP_bad_mac1;
    enum wg_drop verdict = WG_DROP_COUNT;
    pthread_mutex_lock(&a->lock);
    if (handshakes_depth(&p->handshakes) >= WG_UNDER_LOAD_DEPTH)
        atomic_store_explicit(&a->load_until, now + WG_UNDER_LOAD_HOLD, memory_order_relaxed);
    if (admission_under_load(a, now))
        verdict = under_load(p, message, len, from, answers, now);
    pthread_mutex_unlock(&a->lock);
    if (verdict == WG_DROP_COUNT && !handshakes_put(&p->handshakes, message, len, from))
        verdict = WG_DROP_handshake_queue;
    return verdict;
}
