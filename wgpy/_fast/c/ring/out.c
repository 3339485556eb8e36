/* The producer's end of a ring: struct wg_ring_out is the thread's that has it as its sink. What
 * both rooms see is written by one of them and read by words, once; fences order it (bell.h). */
#include "bell.h"

#include <errno.h>

enum {
    SPACE_WAIT_MS = 5, SPACE_TRIES = 4,
    ENTRY = 8,          /* bytes of a table for each packet */
    LENT = WG_BATCH_BYTES + ENTRY * WG_BATCH_PACKETS,
};
#define NO_SPACE UINT32_MAX

static uint8_t *arena(const struct wg_ring_out *r) { return r->end.own + RING_ARENA; }
static uint32_t aligned(uint32_t n) { return (n + RING_RECORD_ALIGN - 1) / RING_RECORD_ALIGN * RING_RECORD_ALIGN; }

/* A new epoch, which differs from the acknowledged one: that may stem from before a
 * restart. Every word of the answer is written, whatever stood there. */
static void answer(struct wg_ring_out *r, uint32_t request)
{
    const uint32_t facts[4] = {RING_MAGIC, RING_VERSION, RING_DESCRIPTORS, r->end.arena_size};
    r->request_seen = request;
    r->head = 0;
    r->place = 0;
    r->lent = NO_SPACE;
    r->stuck = r->lied_to = false;
    if (++r->epoch == ring_load(r->end.theirs + RING_C_ACKNOWLEDGED))
        r->epoch++;
    r->epoch += !r->epoch;
    ring_store(r->end.own + RING_P_REQUEST_SEEN, 0); /* detached while head and epoch change */
    memcpy(r->end.own + RING_P_MAGIC, facts, sizeof facts);
    ring_store(r->end.own + RING_P_HEAD, 0);
    ring_store(r->end.own + RING_P_EPOCH, r->epoch);
    ring_store(r->end.own + RING_P_REQUEST_SEEN, request);
    ring_kick(&r->end, &r->end.data);
}

/* Starts a new epoch whenever the consumer asks, has not acknowledged the last one for
 * long, or cannot have meant its tail; true while records would be read. */
static bool attached(struct wg_ring_out *r)
{
    uint32_t request = ring_load(r->end.theirs + RING_C_REQUEST);
    if (request != r->request_seen) {
        answer(r, request);
        ring_patient(&r->patience, RING_ANEW_MS);
        count(&r->end.attaches, 1);
    }
    if (!request)
        return false;
    bool acknowledged = ring_load(r->end.theirs + RING_C_ACKNOWLEDGED) == r->epoch;
    if (acknowledged && !r->lied_to) {
        r->patience.ms = RING_ANEW_MS;
        return true;
    }
    if (r->lied_to || ring_impatient(&r->patience))
        answer(r, request);
    return false;
}

/* Where `len` bytes may go, 0 for a descriptor alone, or NO_SPACE. A tail that claims more
 * than was published frees nothing and makes a new epoch due; one that lies otherwise costs the consumer its own
 * records. The place is inside the arena whatever the tail says. */
static uint32_t find_space(struct wg_ring_out *r, uint32_t len)
{
    uint32_t live = r->head - ring_load(r->end.theirs + RING_C_TAIL);
    if (live >= RING_DESCRIPTORS) {
        r->lied_to |= live > RING_DESCRIPTORS;
        return NO_SPACE;
    }
    uint32_t at = (uint32_t)(r->place % r->end.arena_size);
    uint64_t gap = at + len > r->end.arena_size ? r->end.arena_size - at : 0;
    uint64_t oldest = live ? r->start[(r->head - live) % RING_DESCRIPTORS] : r->place + gap;
    if (r->place + gap + len - oldest > r->end.arena_size)
        return NO_SPACE;
    r->place += gap;
    return (uint32_t)(r->place % r->end.arena_size);
}

/* A tail that lies costs the consumer its own records here, too. */
static uint32_t ring_filled(struct wg_port *port)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    uint32_t live = r->head - ring_load(r->end.theirs + RING_C_TAIL);
    if (!attached(r) || !live)
        return 0;
    if (live >= RING_DESCRIPTORS)
        return WG_FULL;
    uint64_t bytes = r->place - r->start[(r->head - live) % RING_DESCRIPTORS];
    uint32_t of_arena = (uint32_t)(bytes * WG_FULL / r->end.arena_size);
    return of_arena > live ? of_arena : live;
}
_Static_assert(RING_DESCRIPTORS == WG_FULL, "a descriptor is one part of the room");

/* Rings if it sleeps, for what was stored before. */
static void wake_consumer(struct wg_ring_out *r)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (ring_load(r->end.theirs + RING_C_SLEEPING))
        ring_kick(&r->end, &r->end.data);
}

/* Waits for the consumer, SPACE_TRIES times SPACE_WAIT_MS at most. */
static uint32_t wait_for_space(struct wg_ring_out *r, uint32_t len)
{
    uint32_t at = NO_SPACE;
    count(&r->waits, 1);
    for (int tries = 0; tries < SPACE_TRIES && at == NO_SPACE; tries++) {
        ring_store(r->end.own + RING_P_SPACE_WANTED, 1);
        atomic_thread_fence(memory_order_seq_cst);
        at = find_space(r, len);
        if (at == NO_SPACE) {
            struct pollfd bell = {.fd = r->end.space.fd, .events = POLLIN};
            wake_consumer(r); /* against a lost event */
            poll(&bell, 1, SPACE_WAIT_MS);
            ring_silence(&r->end.space);
            at = find_space(r, len);
        }
    }
    ring_store(r->end.own + RING_P_SPACE_WANTED, 0);
    r->stuck = at == NO_SPACE;
    return at;
}

/* Writes packets [first, last) of one train as a record; dropped ones are passed over.
 * The table goes to `at`, and behind it the packets unless they are in the arena. */
static void put_record(struct wg_ring_out *r, struct wg_batch *b, uint32_t first, uint32_t last,
                       uint32_t packets, uint32_t at)
{
    bool copy = r->lent == NO_SPACE;
    uint32_t entry = at, off = at + round16(packets * ENTRY);
    const struct wg_packet *lead = NULL;
    for (uint32_t i = first; i < last; i++) {
        const struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        lead = p;
        const uint32_t where[2] = {copy ? off : r->lent + p->off, p->len};
        memcpy(arena(r) + entry, where, ENTRY);
        entry += ENTRY;
        if (copy) {
            memcpy(arena(r) + off, b->bytes + p->off, p->len);
            off += round16(p->len);
        }
        count(&r->port.bytes_out, p->len);
    }
    uint8_t *d = r->end.own + RING_DESCRIPTOR_TABLE + (r->head % RING_DESCRIPTORS) * RING_DESCRIPTOR_SIZE;
    const uint32_t facts[3] = {at, packets, lead->tos};
    memcpy(d + RING_D_TABLE, facts, sizeof facts);
    if (r->end.datagrams && b->endpoints)
        memcpy(d + RING_D_ENDPOINT, &b->endpoint[lead->ep], sizeof(struct wg_endpoint));
    else
        memset(d + RING_D_ENDPOINT, 0, sizeof(struct wg_endpoint));
    r->start[r->head % RING_DESCRIPTORS] = r->place;
    if (copy)
        r->place += aligned(off - at);
    r->head++;
    count(&r->port.packets_out, packets);
    count(&r->port.calls_out, 1);
}

/* Extends a train from `i` as far as its packets share endpoint and DS field. */
static uint32_t train(const struct wg_ring_out *r, const struct wg_batch *b, uint32_t i,
                      uint32_t *packets, uint32_t *bytes)
{
    const struct wg_packet *lead = &b->packet[i];
    uint32_t table = 0;
    *packets = *bytes = 0;
    for (; i < b->n; i++) {
        const struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        if (p->tos != lead->tos || (r->end.datagrams && p->ep != lead->ep) ||
            *packets == RING_RECORD_PACKETS ||
            round16(table + ENTRY) + *bytes + round16(p->len) > RING_RECORD_BYTES)
            break;
        table += ENTRY;
        *bytes += round16(p->len);
        ++*packets;
    }
    *bytes += round16(table);
    return i;
}

static void publish(struct wg_ring_out *r, uint32_t before)
{
    if (r->head == before)
        return;
    ring_store(r->end.own + RING_P_HEAD, r->head);
    wake_consumer(r);
}

static uint8_t *ring_lend(struct wg_port *port)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    r->lent = attached(r) ? find_space(r, LENT) : NO_SPACE;
    return r->lent == NO_SPACE ? NULL : arena(r) + r->lent;
}

/* Is the batch received into the arena? False too when that was in an epoch before. */
static bool lent_to(const struct wg_ring_out *r, const struct wg_batch *b)
{
    return r->lent != NO_SPACE && b->bytes == arena(r) + r->lent;
}
static bool in_arena(const struct wg_ring_out *r, const struct wg_batch *b)
{
    return (uintptr_t)b->bytes - (uintptr_t)arena(r) < r->end.arena_size;
}

/* One wait a batch at most, and none while the last was in vain: a slow consumer holds
 * its producer back, a dead or hostile one does not. */
static void ring_send(struct wg_port *port, struct wg_batch *b)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    bool open = attached(r), waited = false, lent = lent_to(r, b);
    uint32_t before = r->head, published = before, tables = lent ? r->lent + round16(b->used) : 0;
    if (!lent) {
        r->lent = NO_SPACE;
        open &= !in_arena(r, b);
    }
    for (uint32_t i = 0; i < b->n;) {
        if (b->packet[i].live && b->packet[i].len > WG_PACKET_MAX)
            batch_drop(b, &b->packet[i], WG_DROP_too_big);
        if (!b->packet[i].live) {
            i++;
            continue;
        }
        uint32_t packets, bytes, end = train(r, b, i, &packets, &bytes), at = NO_SPACE;
        bytes = lent ? 0 : aligned(bytes);
        if (open)
            at = find_space(r, bytes);
        if (open && at != NO_SPACE) {
            r->stuck = false;
        } else if (open && !r->stuck && !waited) {
            publish(r, published);
            published = r->head;
            waited = true;
            at = wait_for_space(r, bytes);
        }
        if (at == NO_SPACE) {
            count(&b->drops[open ? WG_DROP_queue_full : WG_DROP_ring_detached], packets);
        } else {
            put_record(r, b, i, end, packets, lent ? tables : at);
            tables += packets * ENTRY;
        }
        i = end;
    }
    if (lent && r->head != before)
        r->place += aligned(tables - r->lent);
    publish(r, published);
    r->lent = NO_SPACE;
}

/* A consumer that starts later than the producer is answered before there is traffic. */
static void ring_service(struct wg_port *port)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    ring_silence(&r->end.space);
    attached(r);
}

int ring_out_init(struct wg_ring_out *r, uint8_t *own, size_t own_size, const uint8_t *theirs,
                  struct wg_doorbell data, struct wg_doorbell space, struct wg_ring_options o)
{
    memset(r, 0, sizeof *r);
    if (!ring_end_init(&r->end, own, theirs, own_size, data, space, o))
        return -EINVAL;
    r->port.send = ring_send;
    r->port.service = ring_service;
    r->port.lend = ring_lend;
    r->port.filled = ring_filled;
    r->lent = NO_SPACE;
    ring_wait_on(&r->port, &r->end.space);
    r->epoch = o.seed | 1;
    ring_store(own + RING_P_SPACE_WANTED, 0);
    answer(r, 0); /* nobody has asked: nothing of the old epoch counts any more */
    return 0;
}
