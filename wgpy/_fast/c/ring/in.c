/* The consumer's end of a ring: struct wg_ring_in is the thread's that has it as its source. What
 * both rooms see is written by one of them and read by words, once; fences order it (bell.h). */
#include "bell.h"

#include <errno.h>

/* The request differs from the answered one, which may stem from before a restart. */
static void ask_anew(struct wg_ring_in *r)
{
    if (++r->request == ring_load(r->end.theirs + RING_P_REQUEST_SEEN))
        r->request++;
    r->request += !r->request;
    r->tail = 0;
    ring_store(r->end.own + RING_C_TAIL, 0);
    ring_store(r->end.own + RING_C_REQUEST, r->request);
    ring_kick(&r->end, &r->end.space);
}

static bool geometry_fits(const struct wg_ring_in *r)
{
    uint32_t facts[4];
    memcpy(facts, r->end.theirs + RING_P_MAGIC, sizeof facts);
    return facts[0] == RING_MAGIC && facts[1] == RING_VERSION && facts[2] == RING_DESCRIPTORS &&
           facts[3] == r->end.arena_size;
}

/* Has the producer answered, and is its epoch acknowledged? */
static bool answered(struct wg_ring_in *r, uint32_t *head)
{
    if (ring_load(r->end.theirs + RING_P_REQUEST_SEEN) != r->request)
        return false;
    uint32_t epoch = ring_load(r->end.theirs + RING_P_EPOCH);
    *head = ring_load(r->end.theirs + RING_P_HEAD);
    if (ring_load(r->end.theirs + RING_P_REQUEST_SEEN) != r->request ||
        ring_load(r->end.theirs + RING_P_EPOCH) != epoch)
        return false; /* the producer is starting anew: head may not be of this epoch */
    if (epoch != r->acknowledged) {
        if (!geometry_fits(r)) {
            count(&r->bad_index, 1);
            return false;
        }
        r->acknowledged = epoch;
        r->tail = 0;
        ring_store(r->end.own + RING_C_TAIL, 0);
        ring_store(r->end.own + RING_C_ACKNOWLEDGED, epoch);
        count(&r->end.attaches, 1);
        ring_kick(&r->end, &r->end.space);
    }
    return true;
}

/* Records ready to be read; 0 while not attached. */
static uint32_t ready(struct wg_ring_in *r)
{
    uint32_t head;
    bool before = r->attached;
    r->attached = answered(r, &head);
    if (!r->attached) {
        if (before)
            ring_patient(&r->patience, RING_ANEW_MS);
        else if (ring_impatient(&r->patience))
            ask_anew(r);
        return 0;
    }
    uint32_t n = head - r->tail;
    if (n <= RING_DESCRIPTORS)
        return n;
    count(&r->bad_index, 1);
    ask_anew(r);
    return 0;
}

struct record {
    uint32_t table, packets, tos;
    struct wg_endpoint endpoint;
    struct { uint32_t offset, length; } packet[RING_RECORD_PACKETS];
    uint32_t bytes; /* of all packets, each rounded up */
};

static bool inside(const struct wg_ring_in *r, uint32_t offset, uint32_t length)
{
    return offset <= r->end.arena_size && length <= r->end.arena_size - offset;
}

/* Copies descriptor and table out of the neighbour's reach, then bounds them. */
static bool read_record(const struct wg_ring_in *r, struct record *rec)
{
    const uint8_t *d = r->end.theirs + RING_DESCRIPTOR_TABLE + (r->tail % RING_DESCRIPTORS) * RING_DESCRIPTOR_SIZE;
    memcpy(rec, d, offsetof(struct record, packet));
    __asm__ volatile("" : "+m"(*rec)); /* copied once: not read again from the neighbour */
    if (!rec->packets || rec->packets > RING_RECORD_PACKETS ||
        !inside(r, rec->table, rec->packets * (uint32_t)sizeof *rec->packet))
        return false;
    memcpy(rec->packet, r->end.theirs + RING_ARENA + rec->table, rec->packets * sizeof *rec->packet);
    __asm__ volatile("" : "+m"(rec->packet));
    rec->bytes = 0;
    for (uint32_t k = 0; k < rec->packets; k++) {
        if (rec->packet[k].length > WG_PACKET_MAX || !inside(r, rec->packet[k].offset, rec->packet[k].length))
            return false;
        rec->bytes += round16(rec->packet[k].length);
    }
    if (r->end.datagrams && rec->endpoint.family != 4 && rec->endpoint.family != 6)
        return false;
    if (rec->endpoint.source != WG_SOURCE_KNOWN)
        rec->endpoint.source = WG_SOURCE_NONE;
    return rec->bytes <= RING_RECORD_BYTES;
}
_Static_assert(offsetof(struct record, table) == RING_D_TABLE && offsetof(struct record, packets) == RING_D_PACKETS &&
               offsetof(struct record, tos) == RING_D_TOS && offsetof(struct record, endpoint) == RING_D_ENDPOINT &&
               offsetof(struct record, packet) <= RING_DESCRIPTOR_SIZE, "struct record begins like a descriptor");

static struct wg_packet *append(struct wg_ring_in *r, struct wg_batch *b, uint32_t offset, uint32_t length)
{
    struct wg_packet *p;
    if (r->port.in_place) {
        p = &b->packet[b->n++];
        *p = (struct wg_packet){.off = offset, .len = length, .peer = WG_NO_PEER, .live = 1};
    } else {
        p = batch_append(b, length);
        memcpy(b->bytes + p->off, r->end.theirs + RING_ARENA + offset, length);
    }
    return p;
}

/* The record's packets into the batch. False when it had no room there. */
static bool take_record(struct wg_ring_in *r, struct wg_batch *b)
{
    struct record rec;
    if (!read_record(r, &rec)) {
        count(&r->bad_record, 1);
        count(&b->drops[WG_DROP_ring_record], 1);
        return true;
    }
    if (!batch_has_room(b, rec.packets, r->port.in_place ? 0 : rec.bytes) ||
        (r->end.datagrams && b->endpoints == WG_BATCH_PACKETS))
        return false;
    uint16_t ep = r->end.datagrams ? batch_endpoint(b, &rec.endpoint) : 0;
    for (uint32_t k = 0; k < rec.packets; k++) {
        struct wg_packet *p = append(r, b, rec.packet[k].offset, rec.packet[k].length);
        p->ep = ep;
        p->tos = (uint8_t)rec.tos;
        count(&r->port.bytes_in, p->len);
    }
    count(&r->port.packets_in, rec.packets);
    count(&r->port.calls_in, 1);
    return true;
}

/* What was consumed so far is the producer's again. */
static void ring_release(struct wg_port *port)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    ring_store(r->end.own + RING_C_TAIL, r->tail);
    atomic_thread_fence(memory_order_seq_cst);
    if (ring_load(r->end.theirs + RING_P_SPACE_WANTED))
        ring_kick(&r->end, &r->end.space);
}

static void wake_up(struct wg_ring_in *r)
{
    if (!r->sleeping)
        return;
    r->sleeping = false;
    ring_store(r->end.own + RING_C_SLEEPING, 0);
    ring_silence(&r->end.data);
}

static int ring_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    uint32_t before = b->n;
    wake_up(r);
    if (port->in_place) /* the pump's sink only reads */
        b->bytes = (uint8_t *)(uintptr_t)(r->end.theirs + RING_ARENA);
    uint32_t n = ready(r), tail = r->tail; /* ready may have set tail to 0 */
    for (; n && take_record(r, b); n--)
        r->tail++;
    port->drained = !n;
    if (r->tail != tail)
        r->mean = (uint32_t)(b->used / (r->tail - tail));
    if (r->tail != tail && !(port->in_place && b->n > before))
        ring_release(port);
    if (r->end.data.fd < 0 && r->tail != tail)
        r->port.recheck_ms = RING_POLL_MIN_MS;
    return (int)(b->n - before);
}

/* By the mean of the records that were taken last, for those that wait were not read. */
static bool ring_crowded(struct wg_port *port)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    uint32_t n = ready(r);
    return n >= RING_DESCRIPTORS / 4 || (uint64_t)n * r->mean >= r->end.arena_size / 4;
}

/* Says that it sleeps, then looks once more: no record falls between the two. What it
 * said before it says again: where its page was written over the producer would wait. */
static bool ring_may_sleep(struct wg_port *port)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    r->sleeping = true;
    ring_store(r->end.own + RING_C_TAIL, r->tail);
    ring_store(r->end.own + RING_C_ACKNOWLEDGED, r->acknowledged);
    ring_store(r->end.own + RING_C_REQUEST, r->request);
    ring_store(r->end.own + RING_C_SLEEPING, 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (r->end.data.fd < 0 && r->port.recheck_ms < RING_POLL_MAX_MS)
        r->port.recheck_ms *= 2;
    return ready(r) == 0;
}

int ring_in_init(struct wg_ring_in *r, uint8_t *own, const uint8_t *theirs, size_t theirs_size,
                 struct wg_doorbell data, struct wg_doorbell space, struct wg_ring_options o)
{
    memset(r, 0, sizeof *r);
    if (!ring_end_init(&r->end, own, theirs, theirs_size, data, space, o))
        return -EINVAL;
    r->port.receive = ring_receive;
    r->port.crowded = ring_crowded;
    r->port.may_sleep = ring_may_sleep;
    r->port.release = ring_release;
    ring_wait_on(&r->port, &r->end.data);
    r->request = o.seed | 1;
    ring_store(own + RING_C_SLEEPING, 0);
    ring_store(own + RING_C_ACKNOWLEDGED, 0);
    ring_patient(&r->patience, RING_ANEW_MS);
    ask_anew(r);
    return 0;
}
