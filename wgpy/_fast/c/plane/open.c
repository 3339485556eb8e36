/* The open stage: datagrams in, IP packets out, in place. Handshake messages leave
 * towards the control side. Under its own lock of the plane it reads all that the write lock
 * guards; it takes keypair->lock for the window and peer->lock for the endpoint; what it notes of a
 * peer is atomic. */
#include "core/ip.h"
#include "stage.h"

enum { REPLAYED = 2 }; /* wgpy_packet.ok: authentic, and its counter was used */

static void hand_over(struct wg_open_stage *s, struct wg_batch *b, struct wg_packet *p)
{
    enum wg_drop why = admission_judge(s->base.plane, b->bytes + p->off, p->len, &b->endpoint[p->ep], b->now);
    if (why != WG_DROP_COUNT) {
        batch_drop(b, p, why);
        return;
    }
    p->live = 0;
    wake(&s->base.plane->up);
}

/* The threads of a group open a batch each, so that counters of one may be as far apart. */
_Static_assert(WG_QUEUES_MAX * WG_BATCH_PACKETS < WG_REPLAY_WINDOW, "a group is inside the replay window");

/* Changes the window that is held for that of `kp`, NULL for none: once for a run of
 * packets. With one queue the window has one user. */
static void hold_window(struct wg_open_stage *s, struct wg_keypair *kp)
{
    if (s->base.plane->queues == 1 || s->window == kp)
        return;
    if (s->window)
        pthread_mutex_unlock(&s->window->lock);
    if (kp)
        pthread_mutex_lock(&kp->lock);
    s->window = kp;
}

/* Sorts out a datagram; true when it is a transport packet worth opening. */
static bool admit(struct wg_open_stage *s, struct wg_batch *b, struct wg_packet *p, uint32_t job)
{
    const uint8_t *d = b->bytes + p->off;
    uint32_t type = message_type(&s->base.plane->lengths, d, p->len);
    if (type != WG_TRANSPORT) {
        if (type)
            hand_over(s, b, p);
        else
            batch_drop(b, p, WG_DROP_malformed_message);
        return false;
    }
    struct wg_keypair *kp = plane_find(s->base.plane, get_le32(d + 4), &p->peer);
    enum wg_drop why = WG_DROP_COUNT;
    uint64_t counter = get_le64(d + 8);
    if (!kp) {
        why = WG_DROP_unknown_index;
    } else if (b->now >= kp->birth + WG_REJECT_AFTER_TIME) {
        why = WG_DROP_expired_key;
    } else {
        hold_window(s, kp);
        if (!replay_check(&kp->replay, counter))
            why = WG_DROP_replayed;
    }
    if (why != WG_DROP_COUNT) {
        batch_drop(b, p, why);
        return false;
    }
    uint8_t *payload = b->bytes + p->off + WG_HEADER;
    s->base.job[job] = (struct wgpy_packet){.context = kp->open_ctx[s->base.queue], .counter = counter,
                                       .data = payload, .size = p->len - s->base.overhead};
    s->job_key[job] = kp;
    return true;
}

/* `now`: when the batch was received. Another thread may have been quicker with a later one. */
static void follow(struct wg_plane *plane, uint32_t slot, const struct wg_endpoint *from, uint64_t now)
{
    struct wg_peer *peer = &plane->peer[slot];
    pthread_mutex_lock(&peer->lock);
    struct wg_endpoint *to = &peer->endpoint;
    bool later = now >= peer->followed;
    bool moved = later && (to->family != from->family || to->port != from->port || to->scope != from->scope ||
                           memcmp(to->addr, from->addr, sizeof to->addr));
    if (later) {
        *to = *from;
        peer->followed = now;
    }
    pthread_mutex_unlock(&peer->lock);
    if (moved) {
        admission_know(&plane->admission, from);
        plane_raise(plane, slot, NOTICE_ROAMED);
    }
}

/* receive.c:keep_key_fresh: the initiator of an ageing session rekeys on receiving,
 * once, so that a one-way flow towards it does not run into the 180 s wall. */
static void note_received(struct wg_open_stage *s, uint64_t now)
{
    struct wg_tally *t = &s->base.tally;
    if (!t->key)
        return;
    struct wg_keypair *kp = t->key;
    struct wg_peer *peer = &s->base.plane->peer[t->slot];
    t->key = NULL;
    add_atomic(&peer->rx_bytes, t->bytes);
    add_atomic(&peer->rx_packets, t->packets);
    share_charge(s->base.plane, t->slot, t->bytes, t->packets, now);
    set_relaxed(&peer->last_received, now);
    set_relaxed(&peer->unanswered_since, 0);
    if (kp->initiator && now >= kp->birth + WG_REKEY_RECEIVE_TIME &&
        !atomic_exchange_explicit(&kp->lastminute_raised, true, memory_order_relaxed))
        plane_raise(s->base.plane, t->slot, NOTICE_REKEY_RECEIVE);
    if (!t->data)
        return;
    set_relaxed(&peer->last_data_received, now);
    if (!relaxed(&peer->unacknowledged_since))
        set_relaxed(&peer->unacknowledged_since, now);
    if (!(atomic_load_explicit(&peer->armed, memory_order_relaxed) & NOTICE_DATA_RECEIVED) &&
        !(atomic_fetch_or(&peer->armed, NOTICE_DATA_RECEIVED) & NOTICE_DATA_RECEIVED))
        plane_raise(s->base.plane, t->slot, NOTICE_DATA_RECEIVED);
}

static void count_opened(struct wg_open_stage *s, struct wg_packet *p, struct wg_keypair *kp, uint64_t now)
{
    struct wg_tally *t = &s->base.tally;
    if (t->key != kp) {
        note_received(s, now);
        *t = (struct wg_tally){.slot = p->peer, .key = kp};
    }
    t->bytes += p->len;
    t->packets++;
    t->data |= p->len > s->base.overhead;
}

/* The decrypted bytes must be an IP packet from one of this very peer's networks. */
static void admit_inner(struct wg_open_stage *s, struct wg_batch *b, struct wg_packet *p)
{
    uint8_t *packet = b->bytes + p->off;
    struct wg_ip ip;
    if (!ip_parse(packet, p->len, &ip))
        batch_drop(b, p, WG_DROP_inner_malformed);
    else if (ip.total_len > p->len)
        batch_drop(b, p, WG_DROP_inner_length);
    else if (plane_owner(&s->base, ip.version, ip.src) != p->peer)
        batch_drop(b, p, WG_DROP_wrong_source);
    else {
        /* RFC 6040 would have it dropped; the kernel and wireguard-go deliver it, and paths that
         * mark everything exist */
        if (!ecn_decapsulate(packet, p->tos))
            count(&b->drops[WG_DROP_ecn_lost], 1);
        p->len = ip.total_len;
    }
}

/* Marks the counters of what was opened. */
static void mark(struct wg_open_stage *s, uint32_t jobs)
{
    for (uint32_t j = 0; j < jobs; j++) {
        if (!s->base.job[j].ok)
            continue;
        hold_window(s, s->job_key[j]);
        if (!replay_mark(&s->job_key[j]->replay, s->base.job[j].counter))
            s->base.job[j].ok = REPLAYED;
    }
    hold_window(s, NULL);
}

static void after_opening(struct wg_open_stage *s, struct wg_batch *b, uint32_t job, const void **seen)
{
    struct wg_packet *p = &b->packet[s->job_packet[job]];
    struct wg_keypair *kp = s->job_key[job];
    if (!s->base.job[job].ok) {
        share_charge(s->base.plane, WG_NO_PEER, p->len, 1, b->now);
        batch_drop(b, p, WG_DROP_bad_tag);
        return;
    }
    if (s->base.job[job].ok == REPLAYED) {
        batch_drop(b, p, WG_DROP_replayed);
        return;
    }
    /* a train has one keypair and one endpoint: compare them once */
    if (seen[0] != kp || seen[1] != &b->endpoint[p->ep]) {
        plane_confirm(s->base.plane, p->peer, kp);
        follow(s->base.plane, p->peer, &b->endpoint[p->ep], b->now);
        seen[0] = kp;
        seen[1] = &b->endpoint[p->ep];
    }
    count_opened(s, p, kp, b->now);
    p->off += WG_HEADER;
    p->len -= s->base.overhead;
    if (p->len)
        admit_inner(s, b, p);
    else
        p->live = 0;
}

static void open_run(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_open_stage *s = (struct wg_open_stage *)stage;
    uint32_t jobs = 0;
    uint64_t demanded = counted(&b->drops[WG_DROP_cookie_demanded]);
    plane_read_lock(s->base.plane, s->base.lock);
    plane_begin_run(&s->base);
    if (b->pressed)
        share_out(s, b);
    for (uint32_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live || p->kind == WG_FINISHED)
            continue;
        if (admit(s, b, p, jobs))
            s->job_packet[jobs++] = i;
        else
            share_charge(s->base.plane, WG_NO_PEER, p->len, 1, b->now);
    }
    hold_window(s, NULL);
    if (counted(&b->drops[WG_DROP_cookie_demanded]) != demanded)
        wake(&s->base.plane->seal_waker); /* once: replies to one source leave as a train */
    s->base.plane->aead->open(s->base.job, jobs);
    mark(s, jobs);
    const void *seen[2] = {NULL, NULL};
    for (uint32_t j = 0; j < jobs; j++)
        after_opening(s, b, j, seen);
    note_received(s, b->now);
    plane_read_unlock(s->base.plane, s->base.lock);
}

static bool open_pull(struct wg_stage *stage, struct wg_batch *b)
{
    struct wg_open_stage *s = (struct wg_open_stage *)stage;
    wake_clear(&s->base.plane->open_waker);
    const struct wg_lane_entry *e;
    while ((e = lane_peek(&s->base.plane->to_tun)) != NULL) {
        if (!batch_has_room(b, 1, e->len))
            return true;
        struct wg_packet *p = batch_append(b, e->len);
        memcpy(b->bytes + p->off, e->bytes, e->len);
        p->kind = WG_FINISHED;
        lane_pop(&s->base.plane->to_tun);
    }
    return false;
}

void open_stage_init(struct wg_open_stage *s, struct wg_plane *plane, uint32_t queue)
{
    s->base.plane = plane;
    s->base.queue = queue;
    s->base.lock = queue * 2 + 1;
    s->base.overhead = plane->lengths.overhead;
    s->base.stage = (struct wg_stage){.pull = open_pull, .run = open_run, .secret = true, .shares = true,
                                 .waker = queue ? NULL : &plane->open_waker};
}
