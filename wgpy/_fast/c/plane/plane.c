/* Owns peers, keypairs, the two indices and the order among the locks of plane.h. What is static here
 * and changes any of them says so where the caller holds the write lock. */
#include "plane.h"

#include <errno.h>
#include <stdlib.h>

#include "core/burn.h"

struct wg_lengths plane_lengths(const struct wg_aead *aead, const struct wg_macs *macs)
{
    uint32_t key = macs->public_size, tag = aead->tag_size, both = 2 * macs->mac_size;
    return (struct wg_lengths){
        .initiation = 8 + key + key + tag + WG_TIMESTAMP + tag + both, .response = 12 + key + tag + both,
        .cookie_reply = 8 + macs->nonce_size + macs->mac_size + macs->cookie_tag_size, .overhead = WG_HEADER + tag,
    };
}

static bool reserve(struct wg_plane *p, uint32_t max_peers, uint32_t prefixes)
{
    uint32_t longest = p->lengths.initiation > p->lengths.response ? p->lengths.initiation : p->lengths.response;
    p->peer = calloc(max_peers, sizeof *p->peer);
    p->trie = trie_new(prefixes);
    return p->peer && p->trie && !index_init(&p->index, max_peers * WG_REFS) &&
           !index_init(&p->remotes, max_peers * KEYPAIRS) && !waker_init(&p->up) && !waker_init(&p->seal_waker) &&
           !waker_init(&p->open_waker) && !pool_init(&p->pool) && !marks_init(&p->notices, max_peers) &&
           !marks_init(&p->wants, max_peers) && !lane_init(&p->to_udp, WG_LANE_SLOTS) &&
           !lane_init(&p->to_tun, WG_LANE_SLOTS) && !lane_init(&p->replies, WG_REPLY_SLOTS) &&
           !handshakes_init(&p->handshakes, WG_HANDSHAKE_SLOTS, longest) &&
           !handshakes_init(&p->cookies, WG_COOKIE_SLOTS, p->lengths.cookie_reply);
}

struct wg_plane *plane_new(uint32_t max_peers, uint32_t prefixes, uint32_t queues,
                           const struct wg_aead *aead, const struct wg_macs *macs)
{
    struct wg_plane *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->max_peers = max_peers;
    p->queues = queues;
    p->aead = aead;
    p->lengths = plane_lengths(aead, macs);
    p->up.fd = p->seal_waker.fd = p->open_waker.fd = -1;
    pthread_mutex_init(&p->door, NULL);
    for (uint32_t i = 0; i < 2 * WG_QUEUES_MAX; i++)
        pthread_mutex_init(&p->stage_lock[i].mutex, NULL);
    if (reserve(p, max_peers, prefixes) && !admission_init(&p->admission, macs))
        return p;
    plane_free(p);
    return NULL;
}

/* The door keeps new readers out while a writer collects the stage locks; without it
 * a busy stage would take its own lock again before the writer ever saw it free. */
void plane_write_lock(struct wg_plane *p)
{
    pthread_mutex_lock(&p->door);
    atomic_store(&p->writer, true);
    for (uint32_t i = 0; i < 2 * p->queues; i++)
        pthread_mutex_lock(&p->stage_lock[i].mutex);
}

void plane_write_unlock(struct wg_plane *p)
{
    for (uint32_t i = 0; i < 2 * p->queues; i++)
        pthread_mutex_unlock(&p->stage_lock[i].mutex);
    atomic_store(&p->writer, false);
    pthread_mutex_unlock(&p->door);
}

void plane_read_lock(struct wg_plane *p, uint32_t stage)
{
    if (atomic_load_explicit(&p->writer, memory_order_relaxed)) {
        pthread_mutex_lock(&p->door);
        pthread_mutex_unlock(&p->door);
    }
    pthread_mutex_lock(&p->stage_lock[stage].mutex);
}

void plane_read_unlock(struct wg_plane *p, uint32_t stage)
{
    pthread_mutex_unlock(&p->stage_lock[stage].mutex);
}

/* --- indices --- */

/* The write lock is held. */
static void await_none(struct wg_plane *p, uint32_t slot)
{
    if (p->peer[slot].awaits)
        index_remove(&p->index, p->peer[slot].awaited, slot * WG_REFS + WG_REF_AWAITED + 1);
    p->peer[slot].awaits = false;
}

void plane_await_none(struct wg_plane *p, uint32_t slot)
{
    plane_write_lock(p);
    await_none(p, slot);
    plane_write_unlock(p);
}

void plane_await(struct wg_plane *p, uint32_t slot, uint32_t local)
{
    struct wg_peer *peer = &p->peer[slot];
    plane_write_lock(p);
    await_none(p, slot);
    if (!index_find(&p->index, local)) {
        peer->awaits = true;
        peer->awaited = local;
        peer->answers = WG_ANSWERS;
        index_add(&p->index, local, slot * WG_REFS + WG_REF_AWAITED + 1);
    }
    plane_write_unlock(p);
}

bool plane_set_key(struct wg_plane *p, const uint8_t *public_key)
{
    plane_write_lock(p);
    bool set = admission_set_key(&p->admission, public_key);
    plane_write_unlock(p);
    return set;
}

/* --- keypairs; the write lock is held --- */

static void keypair_destroy(struct wg_plane *p, uint32_t slot, uint8_t at, struct wg_freed *freed)
{
    struct wg_peer *peer = &p->peer[slot];
    if (at == NO_KEYPAIR || !peer->keypair[at].exists)
        return;
    struct wg_keypair *kp = &peer->keypair[at];
    if (freed)
        freed->local[freed->count++] = kp->local;
    index_remove(&p->index, kp->local, slot * WG_REFS + at + 1);
    index_remove(&p->remotes, plane_remote_key(p, kp->remote), slot * WG_REFS + at + 1);
    for (uint32_t q = 0; q < p->queues; q++) {
        p->aead->key_free(kp->seal_ctx[q]);
        p->aead->key_free(kp->open_ctx[q]);
    }
    pthread_mutex_destroy(&kp->lock);
    wipe(kp, sizeof *kp);
    if (peer->current == at)
        peer->current = NO_KEYPAIR;
    if (peer->previous == at)
        peer->previous = NO_KEYPAIR;
    if (peer->next == at)
        peer->next = NO_KEYPAIR;
}

static uint8_t unused_keypair(const struct wg_peer *peer)
{
    uint8_t i = 0;
    while (i < KEYPAIRS && peer->keypair[i].exists)
        i++;
    return i;
}

/* Makes room among the three keypairs and says where the new one goes. While there is a
 * next one there is no previous one: plane_confirm depends on it. */
static uint8_t rotate_keypairs(struct wg_plane *p, uint32_t slot, bool initiator, struct wg_freed *freed)
{
    struct wg_peer *peer = &p->peer[slot];
    if (!initiator) {
        keypair_destroy(p, slot, peer->next, freed);
        keypair_destroy(p, slot, peer->previous, freed);
        peer->next = unused_keypair(peer);
        return peer->next;
    }
    keypair_destroy(p, slot, peer->previous, freed);
    if (peer->next != NO_KEYPAIR) {
        keypair_destroy(p, slot, peer->current, freed);
        peer->previous = peer->next;
        peer->next = NO_KEYPAIR;
    } else {
        peer->previous = peer->current;
    }
    peer->current = unused_keypair(peer);
    return peer->current;
}

static void free_contexts(struct wg_plane *p, struct wg_keypair *kp)
{
    for (uint32_t q = 0; q < p->queues; q++) {
        if (kp->seal_ctx[q])
            p->aead->key_free(kp->seal_ctx[q]);
        if (kp->open_ctx[q])
            p->aead->key_free(kp->open_ctx[q]);
    }
}

/* False without memory, and then none is left. */
static bool make_contexts(struct wg_plane *p, struct wg_keypair *kp, const uint8_t *send_key, const uint8_t *receive_key)
{
    bool made = true;
    for (uint32_t q = 0; made && q < p->queues; q++) {
        kp->seal_ctx[q] = p->aead->key_new(send_key);
        kp->open_ctx[q] = p->aead->key_new(receive_key);
        made = kp->seal_ctx[q] && kp->open_ctx[q];
    }
    if (!made)
        free_contexts(p, kp);
    return made;
}

int plane_install(struct wg_plane *p, uint32_t slot, const struct wg_keypair *facts,
                  const uint8_t *send_key, const uint8_t *receive_key, struct wg_freed *freed)
{
    struct wg_keypair made = {.exists = true, .initiator = facts->initiator, .local = facts->local,
                              .remote = facts->remote, .birth = facts->birth};
    bool ready = make_contexts(p, &made, send_key, receive_key);
    burn_stack();
    if (!ready)
        return -ENOMEM;
    struct wg_peer *peer = &p->peer[slot];
    plane_write_lock(p);
    if (peer->awaited == facts->local)
        await_none(p, slot);
    uint8_t at = rotate_keypairs(p, slot, facts->initiator, freed);
    peer->keypair[at] = made;
    replay_init(&peer->keypair[at].replay);
    pthread_mutex_init(&peer->keypair[at].lock, NULL);
    index_add(&p->index, facts->local, slot * WG_REFS + at + 1);
    index_add(&p->remotes, plane_remote_key(p, facts->remote), slot * WG_REFS + at + 1);
    set_relaxed(&peer->key_needed_at, 0);
    /* the handshake was heard from the peer and answered */
    set_relaxed(&peer->unanswered_since, 0);
    set_relaxed(&peer->unacknowledged_since, 0);
    plane_write_unlock(p);
    wipe(&made, sizeof made);
    return 0;
}

void plane_confirm(struct wg_plane *p, uint32_t slot, struct wg_keypair *kp)
{
    struct wg_peer *peer = &p->peer[slot];
    uint8_t at = (uint8_t)(kp - peer->keypair);
    if (atomic_load_explicit(&peer->next, memory_order_relaxed) != at)
        return;
    pthread_mutex_lock(&peer->lock);
    bool promoted = peer->next == at;
    if (promoted) {
        peer->previous = peer->current;
        peer->current = at;
        peer->next = NO_KEYPAIR;
        atomic_store(&peer->promoted, kp->local);
    }
    pthread_mutex_unlock(&peer->lock);
    if (!promoted)
        return;
    set_relaxed(&peer->key_needed_at, 0);
    plane_raise(p, slot, NOTICE_CONFIRMED);
    plane_want(p, slot, WANT_FLUSH);
}

/* Only the control thread, which is here, makes and destroys keypairs. */
uint32_t plane_live_indices(struct wg_plane *p, uint32_t slot, uint32_t out[KEYPAIRS])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < KEYPAIRS; i++)
        if (p->peer[slot].keypair[i].exists)
            out[n++] = p->peer[slot].keypair[i].local;
    return n;
}

void plane_expire(struct wg_plane *p, uint32_t slot, uint64_t born_before, struct wg_freed *freed)
{
    plane_write_lock(p);
    for (uint8_t i = 0; i < KEYPAIRS; i++)
        if (p->peer[slot].keypair[i].exists && p->peer[slot].keypair[i].birth <= born_before)
            keypair_destroy(p, slot, i, freed);
    plane_write_unlock(p);
}

/* --- peers --- */

uint32_t plane_add_peer(struct wg_plane *p)
{
    uint32_t slot = p->free_from;
    while (slot < p->max_peers && p->peer[slot].used)
        slot++;
    p->free_from = slot;
    if (slot == p->max_peers)
        return WG_NO_PEER;
    struct wg_peer *peer = &p->peer[slot];
    plane_write_lock(p);
    memset(peer, 0, sizeof *peer);
    pthread_mutex_init(&peer->lock, NULL);
    peer->current = peer->previous = peer->next = NO_KEYPAIR;
    peer->since = p->removals;
    peer->used = true;
    plane_write_unlock(p);
    return slot;
}

void plane_remove_peer(struct wg_plane *p, uint32_t slot)
{
    struct wg_peer *peer = &p->peer[slot];
    plane_write_lock(p);
    trie_remove_peer(p->trie, slot);
    await_none(p, slot);
    for (uint8_t i = 0; i < KEYPAIRS; i++)
        keypair_destroy(p, slot, i, NULL);
    count(&p->drops[WG_DROP_staged_purged],
          staged_clear(&p->pool, &peer->staged) + lane_forget(&p->to_udp, slot));
    marks_clear(&p->notices, slot);
    marks_clear(&p->wants, slot);
    pthread_mutex_destroy(&peer->lock);
    wipe(peer, sizeof *peer);
    p->removals++;
    if (slot < p->free_from)
        p->free_from = slot;
    plane_write_unlock(p);
}

uint32_t plane_purge(struct wg_plane *p, uint32_t slot)
{
    struct wg_peer *peer = &p->peer[slot];
    pthread_mutex_lock(&peer->lock);
    uint32_t n = staged_clear(&p->pool, &peer->staged);
    set_relaxed(&peer->key_needed_at, 0);
    pthread_mutex_unlock(&peer->lock);
    count(&p->drops[WG_DROP_staged_purged], n);
    return n;
}

void plane_raise(struct wg_plane *p, uint32_t slot, uint32_t bits)
{
    if (marks_set(&p->notices, slot, bits))
        wake(&p->up);
}

void plane_want(struct wg_plane *p, uint32_t slot, uint32_t bits)
{
    if (marks_set(&p->wants, slot, bits))
        wake(&p->seal_waker);
}

/* Clear first, then look: a stage that sets the condition in between raises it itself. */
void plane_rearm(struct wg_plane *p, uint32_t slot, uint32_t bits)
{
    struct wg_peer *peer = &p->peer[slot];
    atomic_fetch_and(&peer->armed, ~bits);
    uint32_t holds = (atomic_load(&peer->unanswered_since) ? NOTICE_DATA_SENT : 0u) |
                     (atomic_load(&peer->unacknowledged_since) ? NOTICE_DATA_RECEIVED : 0u);
    holds &= bits;
    if (holds & ~atomic_fetch_or(&peer->armed, holds))
        plane_raise(p, slot, holds);
}

void plane_free(struct wg_plane *p)
{
    for (uint32_t slot = 0; p->peer && p->trie && slot < p->max_peers; slot++)
        if (p->peer[slot].used)
            plane_remove_peer(p, slot);
    if (p->trie)
        trie_free(p->trie);
    marks_free(&p->notices);
    marks_free(&p->wants);
    lane_free(&p->to_udp);
    lane_free(&p->to_tun);
    lane_free(&p->replies);
    handshakes_free(&p->handshakes);
    handshakes_free(&p->cookies);
    admission_free(&p->admission);
    pool_free(&p->pool);
    index_free(&p->index);
    index_free(&p->remotes);
    free(p->peer);
    waker_free(&p->up);
    waker_free(&p->seal_waker);
    waker_free(&p->open_waker);
    free(p);
}
