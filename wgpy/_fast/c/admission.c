#include "admission.h"

#include <errno.h>
#include <sys/random.h>

#include "plane.h"

enum { MACS = 2 * WG_MAC };

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

void admission_set_key(struct wg_admission *a, const uint8_t *public_key)
{
    a->has_key = public_key != NULL;
    if (public_key)
        a->macs->keys(public_key, a->mac1_key, a->cookie_key);
}

bool admission_under_load(const struct wg_admission *a, uint64_t now)
{
    return atomic_load_explicit(&a->load_until, memory_order_relaxed) > now;
}

/* In time that does not depend on where they differ. */
static bool same_mac(const uint8_t *one, const uint8_t *other)
{
    uint8_t difference = 0;
    for (int i = 0; i < WG_MAC; i++)
        difference |= one[i] ^ other[i];
    return !difference;
}

static bool mac1_is_valid(const struct wg_admission *a, const uint8_t *message, uint32_t len)
{
    uint8_t expected[WG_MAC];
    a->macs->mac(a->mac1_key, sizeof a->mac1_key, message, len - MACS, expected);
    return a->has_key && same_mac(expected, message + len - MACS);
}

/* --- the lock is held --- */

/* The cookie of an address and port; false when there is no entropy for a new secret. */
static bool cookie_of(struct wg_admission *a, const struct wg_endpoint *from, uint64_t now, uint8_t out[WG_MAC])
{
    uint8_t source[1 + 16 + 2 + 4] = {from->family};
    if (now >= a->secret_until) {
        if (getrandom(a->secret, sizeof a->secret, 0) != (ssize_t)sizeof a->secret)
            return false;
        a->secret_until = now + WG_COOKIE_LIFETIME;
        memset(a->admitted, 0, sizeof a->admitted);
    }
    memcpy(source + 1, from->addr, from->family == 4 ? 4 : 16);
    put_be16(source + 17, from->port);
    put_be32(source + 19, from->scope);
    a->macs->mac(a->secret, sizeof a->secret, source, sizeof source, out);
    return true;
}

static bool take_nonce(struct wg_admission *a, uint8_t out[WG_XNONCE])
{
    if (!a->entropy_left) {
        if (getrandom(a->entropy, sizeof a->entropy, 0) != (ssize_t)sizeof a->entropy)
            return false;
        a->entropy_left = sizeof a->entropy;
    }
    a->entropy_left -= WG_XNONCE;
    memcpy(out, a->entropy + a->entropy_left, WG_XNONCE);
    return true;
}

/* Of the replies in the lane. */
static _Atomic uint16_t *waiting_of(struct wg_admission *a, const struct wg_endpoint *e)
{
    return &a->waiting[origin_place(a->limiter.seed, origin_of(e), WG_REPLY_SOURCES)];
}

void admission_pop_reply(struct wg_plane *p)
{
    atomic_fetch_sub_explicit(waiting_of(&p->admission, &lane_peek(&p->replies)->endpoint), 1, memory_order_relaxed);
    lane_pop(&p->replies);
}

/* What a message without a valid MAC2 gets under load. */
static enum wg_drop demand_cookie(struct wg_plane *p, const uint8_t *message, uint32_t len,
                                  const struct wg_endpoint *from, const uint8_t cookie[WG_MAC], uint64_t now)
{
    struct wg_admission *a = &p->admission;
    uint8_t reply[WG_COOKIE_REPLY_LEN] = {WG_COOKIE_REPLY};
    if (now >= a->window + WG_SECOND) {
        a->window = now;
        a->unproven = 0;
    }
    if (++a->unproven > WG_UNDER_LOAD_RATE)
        atomic_store_explicit(&a->load_until, now + WG_UNDER_LOAD_HOLD, memory_order_relaxed);
    _Atomic uint16_t *waiting = waiting_of(a, from);
    if (atomic_load_explicit(waiting, memory_order_relaxed) >= WG_REPLIES_A_SOURCE || !lane_has_room(&p->replies))
        return WG_DROP_cookie_lane;
    memcpy(reply + 4, message + 4, 4); /* their sender index */
    if (!take_nonce(a, reply + 8) ||
        !a->macs->seal(a->sealer, a->cookie_key, reply + 8, cookie, message + len - MACS, reply + 8 + WG_XNONCE))
        return WG_DROP_cookie_lane;
    /* counted before it can be taken out; whoever puts holds the lock, so there is still room */
    atomic_fetch_add_explicit(waiting, 1, memory_order_relaxed);
    lane_put(&p->replies, reply, sizeof reply, WG_NO_PEER, WG_HANDSHAKE_TOS, from);
    wake(&p->seal_waker);
    return WG_DROP_cookie_demanded;
}

/* Somebody may repeat what he saw: it was paid for once, and is not worth more. */
static bool is_copy(struct wg_admission *a, const uint8_t mac2[WG_MAC])
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
    uint8_t cookie[WG_MAC], expected[WG_MAC];
    enum wg_drop verdict = WG_DROP_COUNT;
    if (answers && *answers) {
        --*answers;
        return verdict;
    }
    if (!cookie_of(a, from, now, cookie))
        return WG_DROP_cookie_lane;
    a->macs->mac(cookie, sizeof cookie, message, len - WG_MAC, expected);
    if (!same_mac(expected, message + len - WG_MAC))
        verdict = demand_cookie(p, message, len, from, cookie, now);
    else if (is_copy(a, expected))
        verdict = WG_DROP_handshake_copy;
    else if (!limiter_allow(&a->limiter, from, now))
        verdict = WG_DROP_rate_limited;
    wipe(cookie, sizeof cookie);
    wipe(expected, sizeof expected);
    return verdict;
}

/* --- without it --- */

static enum wg_drop judge_cookie_reply(struct wg_plane *p, const uint8_t *message, const struct wg_endpoint *from,
                                       uint64_t now)
{
    if (!plane_knows(p, get_le32(message + 4)))
        return WG_DROP_unawaited;
    pthread_mutex_lock(&p->admission.lock);
    bool room = budget_take(&p->admission.cookie_budget, WG_COOKIE_REPLIES, WG_COOKIE_REPLIES_BURST, now) &&
                handshakes_put(&p->cookies, message, WG_COOKIE_REPLY_LEN, from);
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
