/* The seal stage: IP packets in, transport datagrams out, in place. Under its own lock
 * of the plane it reads all that the write lock guards; it takes peer->lock for the endpoint and the
 * staged packets; counters and what it notes of a peer are atomic. */
#include "core/ip.h"
#include "loop.h"
#include "seal.h"

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
        seal_ask_for_key(s->base.plane, p->peer, b->now);
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
        seal_ask_for_key(s->base.plane, p->peer, b->now);
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
