/* The seal stage: IP packets in, transport datagrams out, in place. Under its own lock
 * of the plane it reads all that the write lock guards; it takes peer->lock for the endpoint and the
 * staged packets; counters and what it notes of a peer are atomic. */
#include "core/ip.h"
#include "loop.h"
#include "stage.h"

/* A hint that names no peer of its hash in this batch proves that the peer is not there
 * yet. Apart, so that endpoint_of is a comparison. */
static __attribute__((noinline)) int add_endpoint(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    uint16_t *hint = &s->ep_hint[slot % WG_EP_HINTS];
    bool collision = *hint < b->endpoints && s->ep_peer[*hint] % WG_EP_HINTS == slot % WG_EP_HINTS;
    for (uint32_t i = collision ? b->endpoints : 0; i-- > 0;)
        if (s->ep_peer[i] == slot)
            return (int)i;
    struct wg_peer *peer = &s->base.plane->peer[slot];
    if (b->endpoints == WG_BATCH_PACKETS)
        return -1;
    pthread_mutex_lock(&peer->lock);
    b->endpoint[b->endpoints] = peer->endpoint;
    pthread_mutex_unlock(&peer->lock);
    if (!b->endpoint[b->endpoints].family)
        return -1;
    s->ep_peer[b->endpoints] = slot;
    *hint = (uint16_t)b->endpoints;
    return (int)b->endpoints++;
}

/* The peer's endpoint in this batch, copied once. Its index, or -1 when it has none
 * or the batch is out of places. */
static int endpoint_of(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    uint16_t hint = s->ep_hint[slot % WG_EP_HINTS];
    return hint < b->endpoints && s->ep_peer[hint] == slot ? hint : add_endpoint(s, b, slot);
}

static struct wg_keypair *usable_key(struct wg_peer *peer, uint64_t now)
{
    uint8_t at = atomic_load_explicit(&peer->current, memory_order_acquire);
    if (at == NO_KEYPAIR)
        return NULL;
    struct wg_keypair *kp = &peer->keypair[at];
    bool young = now < kp->birth + WG_REJECT_AFTER_TIME;
    return young && relaxed(&kp->counter) < WG_REJECT_AFTER_MESSAGES ? kp : NULL;
}

static void ask_for_key(struct wg_plane *plane, uint32_t slot, uint64_t now)
{
    struct wg_peer *peer = &plane->peer[slot];
    uint64_t asked = relaxed(&peer->key_needed_at);
    if (asked && now - asked < WG_REKEY_TIMEOUT)
        return;
    set_relaxed(&peer->key_needed_at, now);
    plane_raise(plane, slot, NOTICE_KEY_NEEDED);
}

/* Puts the packet behind those that wait, and sees to it that they do not wait for
 * nothing: with a key they are flushed, without one the control side is asked. Another
 * queue may have promoted a keypair, and its flush may be over: look after pushing. */
static void keep_staged(struct wg_seal_stage *s, struct wg_batch *b, struct wg_packet *p)
{
    struct wg_peer *peer = &s->base.plane->peer[p->peer];
    pthread_mutex_lock(&peer->lock);
    enum wg_drop lost = staged_push(&s->base.plane->pool, &peer->staged, b->bytes + p->off, p->len);
    pthread_mutex_unlock(&peer->lock);
    p->live = 0;
    if (lost != WG_DROP_COUNT)
        count(&b->drops[lost], 1);
    if (usable_key(peer, b->now))
        plane_want(s->base.plane, p->peer, WANT_FLUSH);
    else
        ask_for_key(s->base.plane, p->peer, b->now);
}

static void refuse(struct wg_seal_stage *s, struct wg_batch *b, struct wg_packet *p, enum wg_drop why)
{
    batch_drop(b, p, why);
    uint8_t error[WG_LANE_BYTES];
    pthread_mutex_lock(&s->base.plane->to_tun.queue.lock);
    bool allowed = icmp_allow(&s->base.plane->icmp, b->now);
    pthread_mutex_unlock(&s->base.plane->to_tun.queue.lock);
    if (!allowed)
        return;
    uint32_t len = icmp_unreachable(error, sizeof error, b->bytes + p->off, p->len, NULL);
    if (!len)
        return;
    if (lane_put(&s->base.plane->to_tun, error, len, WG_NO_PEER, 0, NULL))
        count(&b->drops[WG_DROP_lane_full], 1);
    else
        wake(&s->base.plane->open_waker);
}

/* Finds the packet's peer. False when it was dropped. */
static bool route(struct wg_seal_stage *s, struct wg_batch *b, struct wg_packet *p)
{
    const uint8_t *packet = b->bytes + p->off;
    struct wg_ip ip;
    if (!ip_parse(packet, p->len, &ip) || ip.total_len > p->len) {
        batch_drop(b, p, WG_DROP_malformed_ip);
        return false;
    }
    p->tos = ecn_outer(ip.tos);
    p->peer = plane_owner(&s->base, ip.version, ip.dst);
    if (loop_possible(&ip, packet) && loop_closes(s->base.plane, &ip, packet, p->peer, b->now)) {
        batch_drop(b, p, WG_DROP_routing_loop);
        return false;
    }
    if (p->peer == WG_NO_PEER) {
        refuse(s, b, p, WG_DROP_no_peer);
        return false;
    }
    return true;
}

/* Pads with zeros to 16, clamped to the MTU (send.c:calculate_skb_padding); what the MTU, which
 * may have shrunk since, does not let through any more is not made longer. The tailroom takes
 * 16 zeros whatever the padding: one store; and what is padded ends where the tailroom begins, or before. */
static uint32_t pad(uint8_t *packet, uint32_t len, uint32_t mtu)
{
    uint32_t padded = round16(len);
    if (padded > mtu)
        padded = len > mtu ? len : mtu;
    memset(packet + len, 0, 16);
    return padded;
}

/* send.c:keep_key_fresh; raised again every 5 s for as long as it holds. */
static void note_key_age(struct wg_plane *plane, uint32_t slot, struct wg_keypair *kp, uint64_t now)
{
    bool due = relaxed(&kp->counter) > WG_REKEY_AFTER_MESSAGES ||
               (kp->initiator && now >= kp->birth + WG_REKEY_AFTER_TIME);
    if (!due)
        return;
    uint64_t raised = relaxed(&kp->rekey_raised);
    if (raised && now - raised < WG_REKEY_TIMEOUT)
        return;
    set_relaxed(&kp->rekey_raised, now);
    plane_raise(plane, slot, NOTICE_REKEY_SEND);
}

static void note_sent(struct wg_seal_stage *s, uint64_t now)
{
    struct wg_tally *t = &s->base.tally;
    if (!t->key)
        return;
    struct wg_peer *peer = &s->base.plane->peer[t->slot];
    add_atomic(&peer->tx_bytes, t->bytes);
    add_atomic(&peer->tx_packets, t->packets);
    set_relaxed(&peer->last_sent, now);
    set_relaxed(&peer->unacknowledged_since, 0);
    note_key_age(s->base.plane, t->slot, t->key, now);
    if (t->data && !relaxed(&peer->unanswered_since))
        set_relaxed(&peer->unanswered_since, now);
    if (t->data && !(atomic_load_explicit(&peer->armed, memory_order_relaxed) & NOTICE_DATA_SENT) &&
        !(atomic_fetch_or(&peer->armed, NOTICE_DATA_SENT) & NOTICE_DATA_SENT))
        plane_raise(s->base.plane, t->slot, NOTICE_DATA_SENT);
    t->key = NULL;
}

static void count_sealed(struct wg_seal_stage *s, struct wg_packet *p, struct wg_keypair *kp, bool data, uint64_t now)
{
    struct wg_tally *t = &s->base.tally;
    if (t->key != kp) {
        note_sent(s, now);
        *t = (struct wg_tally){.slot = p->peer, .key = kp};
    }
    t->bytes += p->len;
    t->packets++;
    t->data |= data;
}

/* Writes the header and queues the AEAD job. False when the packet was consumed. */
static bool prepare(struct wg_seal_stage *s, struct wg_batch *b, struct wg_packet *p, uint32_t job)
{
    struct wg_peer *peer = &s->base.plane->peer[p->peer];
    int ep = endpoint_of(s, b, p->peer);
    if (ep < 0) {
        refuse(s, b, p, WG_DROP_no_endpoint);
        return false;
    }
    struct wg_keypair *kp = usable_key(peer, b->now);
    if (!kp || (p->kind == WG_PLAIN && peer->staged.count)) {
        keep_staged(s, b, p);
        return false;
    }
    uint64_t counter = atomic_fetch_add_explicit(&kp->counter, 1, memory_order_relaxed);
    if (counter >= WG_REJECT_AFTER_MESSAGES) {
        set_relaxed(&kp->counter, WG_REJECT_AFTER_MESSAGES);
        batch_drop(b, p, WG_DROP_message_limit);
        ask_for_key(s->base.plane, p->peer, b->now);
        return false;
    }
    uint8_t *packet = b->bytes + p->off;
    uint32_t data = p->len, padded = pad(packet, p->len, atomic_load_explicit(&s->mtu, memory_order_relaxed));
    uint8_t *header = packet - WG_HEADER;
    put_le32(header, WG_TRANSPORT);
    put_le32(header + 4, kp->remote);
    put_le64(header + 8, counter);
    s->base.job[job] = (struct wgpy_packet){.context = kp->seal_ctx[s->base.queue], .counter = counter,
                                       .data = packet, .size = padded};
    p->off -= WG_HEADER;
    p->len = padded + s->base.overhead;
    p->ep = (uint16_t)ep;
    count_sealed(s, p, kp, data > 0, b->now);
    return true;
}

/* False when the packet was dropped: the slot is no longer that of the peer from whose
 * staged queue pull took it. */
static bool same_owner(struct wg_seal_stage *s, struct wg_batch *b, struct wg_packet *p)
{
    const struct wg_peer *peer = &s->base.plane->peer[p->peer];
    if (peer->used && (int32_t)(s->pulled_at - peer->since) >= 0)
        return true;
    batch_drop(b, p, WG_DROP_staged_purged);
    return false;
}

/* Counters are given out and packets staged in the order of receipt. The read lock is held
 * until finish. */
static void seal_begin(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    uint32_t jobs = 0;
    plane_read_lock(s->base.plane, s->base.lock);
    plane_begin_run(&s->base);
    /* an endpoint that came from the source port is no peer's; between pull and run the
     * control thread may have removed some */
    for (uint32_t i = s->pulled_at == s->base.plane->removals ? s->pulled_endpoints : 0; i < b->endpoints; i++)
        s->ep_peer[i] = WG_NO_PEER;
    s->pulled_endpoints = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live || p->kind == WG_FINISHED)
            continue;
        if (p->kind == WG_PLAIN ? !route(s, b, p) : !same_owner(s, b, p))
            continue;
        if (prepare(s, b, p, jobs))
            jobs++;
    }
    note_sent(s, b->now);
    s->jobs = jobs;
    if (jobs)
        set_relaxed(&s->base.plane->data_left, b->now);
}

/* Jobs are in the order of their packets. */
static void drop_unsealed(const struct wg_seal_stage *s, struct wg_batch *b)
{
    uint32_t i = 0;
    for (uint32_t j = 0; j < s->jobs; j++) {
        if (s->base.job[j].ok)
            continue;
        while (b->bytes + b->packet[i].off + WG_HEADER != s->base.job[j].data)
            i++;
        batch_drop(b, &b->packet[i], WG_DROP_not_sealed);
    }
}

static void seal_finish(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    s->base.plane->aead->seal(s->base.job, s->jobs);
    if (s->base.plane->aead->may_refuse)
        drop_unsealed(s, b);
    plane_read_unlock(s->base.plane, s->base.lock);
}

static void seal_run(struct wg_stage *stage, struct wg_batch *b)
{
    seal_begin(stage, b);
    seal_finish(stage, b);
}

/* --- packets of the stage's own making --- */

/* At most `most` of the lane; true when the batch has no room for the next. */
static bool pull_lane(struct wg_seal_stage *s, struct wg_batch *b, struct wg_lane *lane, uint32_t most)
{
    const struct wg_lane_entry *e;
    for (; most && (e = lane_peek(lane)) != NULL; most--) {
        if (!batch_has_room(b, 1, e->len) || b->endpoints == WG_BATCH_PACKETS)
            return true;
        int ep;
        if (e->peer == WG_NO_PEER) {
            uint32_t had = b->endpoints;
            ep = batch_endpoint(b, &e->endpoint);
            if (b->endpoints > had)
                s->ep_peer[ep] = WG_NO_PEER;
        } else {
            ep = s->base.plane->peer[e->peer].used ? endpoint_of(s, b, e->peer) : -1;
        }
        if (ep >= 0) {
            struct wg_packet *p = batch_append(b, e->len);
            memcpy(b->bytes + p->off, e->bytes, e->len);
            p->ep = (uint16_t)ep;
            p->tos = e->tos;
            p->kind = WG_FINISHED;
            p->peer = e->peer;
        } else {
            count(&b->drops[WG_DROP_no_endpoint], 1);
        }
        if (lane == &s->base.plane->replies)
            admission_pop_reply(s->base.plane);
        else
            lane_pop(lane);
    }
    return false;
}

/* Moves the peer's staged packets into the batch; true when some had no room. */
static bool resume(struct wg_seal_stage *s, struct wg_batch *b, uint32_t slot)
{
    struct wg_peer *peer = &s->base.plane->peer[slot];
    bool more = false;
    pthread_mutex_lock(&peer->lock);
    for (int32_t len; !more && (len = staged_peek(&peer->staged)) >= 0;) {
        if (!batch_has_room(b, 1, (uint32_t)len)) {
            more = true;
            break;
        }
        struct wg_packet *p = batch_append(b, (uint32_t)len);
        staged_pop(&s->base.plane->pool, &peer->staged, b->bytes + p->off);
        struct wg_ip ip;
        p->tos = len && ip_parse(b->bytes + p->off, p->len, &ip) ? ecn_outer(ip.tos) : 0;
        p->kind = WG_RESUMED;
        p->peer = slot;
    }
    pthread_mutex_unlock(&peer->lock);
    return more;
}

static void stage_keepalive(struct wg_seal_stage *s, uint32_t slot)
{
    struct wg_peer *peer = &s->base.plane->peer[slot];
    pthread_mutex_lock(&peer->lock);
    if (!peer->staged.count)
        staged_push(&s->base.plane->pool, &peer->staged, NULL, 0);
    pthread_mutex_unlock(&peer->lock);
}

static bool pull_replies(struct wg_seal_stage *s, struct wg_batch *b)
{
    struct wg_plane *p = s->base.plane;
    uint32_t allowed = admission_replies_due(p, &s->replies_at, b->room, b->now);
    pull_lane(s, b, &p->replies, allowed);
    bool more = lane_peek(&p->replies) != NULL;
    b->held = more && allowed < WG_REPLIES_A_BATCH;
    return more && !b->held;
}

static bool seal_pull(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    wake_clear(&s->base.plane->seal_waker);
    plane_read_lock(s->base.plane, s->base.lock);
    bool more = pull_lane(s, b, &s->base.plane->to_udp, UINT32_MAX);
    uint32_t slot, bits;
    while (!more && marks_take(&s->base.plane->wants, &slot, &bits)) {
        struct wg_peer *peer = &s->base.plane->peer[slot];
        if (!peer->used)
            continue;
        if (bits & WANT_KEEPALIVE)
            stage_keepalive(s, slot);
        if (usable_key(peer, b->now)) {
            more = resume(s, b, slot);
            if (more)
                plane_want(s->base.plane, slot, WANT_FLUSH);
        } else if (peer->staged.count) {
            ask_for_key(s->base.plane, slot, b->now);
        }
    }
    if (!more)
        more = pull_replies(s, b);
    s->pulled_endpoints = b->endpoints;
    s->pulled_at = s->base.plane->removals;
    plane_read_unlock(s->base.plane, s->base.lock);
    return more;
}

static void seal_sent(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_seal_stage *s = (struct wg_seal_stage *)stage;
    for (uint32_t i = 0; i < b->endpoints; i++) {
        if (b->endpoint[i].source != WG_SOURCE_STALE || s->ep_peer[i] == WG_NO_PEER)
            continue;
        struct wg_peer *peer = &s->base.plane->peer[s->ep_peer[i]];
        plane_read_lock(s->base.plane, s->base.lock);
        if (peer->used) {
            pthread_mutex_lock(&peer->lock);
            if (!memcmp(peer->endpoint.local, b->endpoint[i].local, sizeof peer->endpoint.local))
                peer->endpoint.source = WG_SOURCE_NONE;
            pthread_mutex_unlock(&peer->lock);
        }
        plane_read_unlock(s->base.plane, s->base.lock);
    }
}

void seal_stage_init(struct wg_seal_stage *s, struct wg_plane *plane, uint32_t queue, uint32_t mtu)
{
    s->base.plane = plane;
    s->base.queue = queue;
    s->base.lock = queue * 2;
    s->base.overhead = plane->lengths.overhead;
    s->mtu = mtu;
    s->base.stage = (struct wg_stage){.pull = seal_pull, .run = seal_run, .begin = seal_begin, .finish = seal_finish,
                                 .sent = seal_sent, .secret = true,
                                 .waker = queue ? NULL : &plane->seal_waker};
}
