#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { SPACE_WAIT_MS = 20, RECHECK_MS = 1000 };

static uint32_t load(const uint8_t *at)
{
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)at, memory_order_acquire);
}
static void store(uint8_t *at, uint32_t v)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)at, v, memory_order_release);
}

static void kick(struct wg_doorbell *d)
{
    uint64_t one = 1;
    if (d->emit) {
        *d->emit = 1;
        return;
    }
    ssize_t ignored = write(d->fd, &one, sizeof one);
    (void)ignored;
}

static void silence(struct wg_doorbell *d)
{
    uint64_t drained;
    ssize_t ignored = read(d->fd, &drained, d->emit ? 4 : sizeof drained);
    (void)ignored;
}

/* --- producer --- */

/* Starts a new epoch whenever the consumer asks; true while records would be read. */
static bool attached(struct wg_ring_out *r)
{
    uint32_t request = load(r->theirs + RING_C_REQUEST);
    if (request != r->request_seen) {
        r->request_seen = request;
        r->head = 0;
        r->place = 0;
        r->stuck = false;
        if (++r->epoch == 0)
            r->epoch = 1;
        store(r->own + RING_P_REQUEST_SEEN, 0); /* detached while head and epoch change */
        store(r->own + RING_P_HEAD, 0);
        store(r->own + RING_P_EPOCH, r->epoch);
        store(r->own + RING_P_REQUEST_SEEN, request);
        count(&r->attaches, 1);
        kick(&r->data);
    }
    return request && load(r->theirs + RING_C_ACKNOWLEDGED) == r->epoch;
}

/* Where a record of `len` bytes may go, or UINT32_MAX. A tail that claims more than was
 * published frees nothing. */
static uint32_t find_space(struct wg_ring_out *r, uint32_t len)
{
    uint32_t live = r->head - load(r->theirs + RING_C_TAIL);
    if (live >= RING_DESCRIPTORS)
        return UINT32_MAX;
    uint64_t oldest = live ? r->start[(r->head - live) % RING_DESCRIPTORS] : r->place;
    uint32_t at = (uint32_t)(r->place % r->arena_size);
    uint64_t gap = at + len > r->arena_size ? r->arena_size - at : 0;
    if (r->place + gap + len - oldest > r->arena_size)
        return UINT32_MAX;
    r->place += gap;
    return (uint32_t)(r->place % r->arena_size);
}

/* Waits once, shortly, for the consumer; not again while it makes no progress. */
static uint32_t wait_for_space(struct wg_ring_out *r, uint32_t len)
{
    uint32_t at = find_space(r, len);
    if (at != UINT32_MAX) {
        r->stuck = false;
        return at;
    }
    if (r->stuck)
        return UINT32_MAX;
    count(&r->waits, 1);
    for (int tries = 0; tries < 4 && at == UINT32_MAX; tries++) {
        store(r->own + RING_P_SPACE_WANTED, 1);
        atomic_thread_fence(memory_order_seq_cst);
        at = find_space(r, len);
        if (at == UINT32_MAX) {
            struct pollfd bell = {.fd = r->space.fd, .events = POLLIN};
            kick(&r->data); /* against a lost event */
            poll(&bell, 1, SPACE_WAIT_MS / 4);
            silence(&r->space);
        }
    }
    store(r->own + RING_P_SPACE_WANTED, 0);
    r->stuck = at == UINT32_MAX;
    return at;
}

/* Writes packets [first, last) of one train as a record; dropped ones are passed over. */
static void put_record(struct wg_ring_out *r, struct wg_batch *b, uint32_t first, uint32_t last,
                       uint32_t packets, uint32_t at)
{
    uint8_t *record = r->own + RING_ARENA + at;
    uint32_t k = 0, off = round16(packets * 4);
    const struct wg_packet *lead = NULL;
    for (uint32_t i = first; i < last; i++) {
        const struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        lead = p;
        memcpy(record + 4 * k++, &p->len, 4);
        memcpy(record + off, b->bytes + p->off, p->len);
        off += round16(p->len);
        count(&r->port.bytes_out, p->len);
    }
    uint8_t *d = r->own + RING_DESCRIPTOR_TABLE + (r->head % RING_DESCRIPTORS) * RING_DESCRIPTOR_SIZE;
    uint32_t tos = lead->tos;
    memcpy(d + RING_D_OFFSET, &at, 4);
    memcpy(d + RING_D_LENGTH, &off, 4);
    memcpy(d + RING_D_PACKETS, &packets, 4);
    memcpy(d + RING_D_TOS, &tos, 4);
    if (b->endpoints)
        memcpy(d + RING_D_ENDPOINT, &b->endpoint[lead->ep], sizeof(struct wg_endpoint));
    else
        memset(d + RING_D_ENDPOINT, 0, sizeof(struct wg_endpoint));
    r->start[r->head % RING_DESCRIPTORS] = r->place;
    r->place += (off + RING_RECORD_ALIGN - 1) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    r->head++;
    count(&r->port.packets_out, packets);
    count(&r->port.calls_out, 1);
}

/* Extends a train from `i` as far as its packets share endpoint and DS field. */
static uint32_t train(const struct wg_batch *b, uint32_t i, uint32_t *packets, uint32_t *bytes)
{
    const struct wg_packet *lead = &b->packet[i];
    uint32_t table = 0;
    *packets = *bytes = 0;
    for (; i < b->n; i++) {
        const struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        if (p->tos != lead->tos || (b->endpoints && p->ep != lead->ep) ||
            *packets == RING_RECORD_PACKETS ||
            round16(table + 4) + *bytes + round16(p->len) > RING_RECORD_BYTES)
            break;
        table += 4;
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
    store(r->own + RING_P_HEAD, r->head);
    atomic_thread_fence(memory_order_seq_cst);
    if (load(r->theirs + RING_C_SLEEPING)) {
        count(&r->kicks, 1);
        kick(&r->data);
    }
}

static void ring_send(struct wg_port *port, struct wg_batch *b)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    bool open = attached(r);
    uint32_t published = r->head;
    for (uint32_t i = 0; i < b->n;) {
        if (!b->packet[i].live) {
            i++;
            continue;
        }
        uint32_t packets, bytes, end = train(b, i, &packets, &bytes);
        uint32_t at = open ? find_space(r, (bytes + RING_RECORD_ALIGN - 1) & ~(RING_RECORD_ALIGN - 1)) : UINT32_MAX;
        if (open && at == UINT32_MAX) {
            publish(r, published);
            published = r->head;
            at = wait_for_space(r, (bytes + RING_RECORD_ALIGN - 1) & ~(RING_RECORD_ALIGN - 1));
        }
        if (at == UINT32_MAX)
            count(&b->drops[open ? WG_DROP_queue_full : WG_DROP_ring_detached], packets);
        else
            put_record(r, b, i, end, packets, at);
        i = end;
    }
    publish(r, published);
}

/* A consumer that starts later than the producer is answered before there is traffic. */
static void ring_service(struct wg_port *port)
{
    struct wg_ring_out *r = (struct wg_ring_out *)port;
    silence(&r->space);
    attached(r);
}

int ring_out_init(struct wg_ring_out *r, uint8_t *own, size_t own_size, const uint8_t *theirs,
                  struct wg_doorbell data, struct wg_doorbell space, uint32_t seed)
{
    if (own_size < RING_ARENA + RING_RECORD_BYTES || own_size > UINT32_MAX)
        return -EINVAL;
    memset(r, 0, sizeof *r);
    r->port.send = ring_send;
    r->port.service = ring_service;
    r->port.recheck_ms = RECHECK_MS;
    r->port.fds[0] = space.fd;
    r->port.fds[1] = -1;
    r->own = own;
    r->theirs = theirs;
    r->data = data;
    r->space = space;
    r->arena_size = (uint32_t)(own_size - RING_ARENA) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    r->epoch = seed | 1;
    const uint32_t facts[4] = {RING_MAGIC, RING_VERSION, RING_DESCRIPTORS, r->arena_size};
    memcpy(own + RING_P_MAGIC, facts, sizeof facts);
    store(own + RING_P_REQUEST_SEEN, 0);
    store(own + RING_P_HEAD, 0);
    store(own + RING_P_EPOCH, r->epoch);
    kick(&r->data);
    return 0;
}

/* --- consumer --- */

static void ask_anew(struct wg_ring_in *r)
{
    if (++r->request == 0)
        r->request = 1;
    r->tail = 0;
    store(r->own + RING_C_TAIL, 0);
    store(r->own + RING_C_REQUEST, r->request);
    kick(&r->space);
}

static bool geometry_fits(const struct wg_ring_in *r)
{
    uint32_t facts[4];
    memcpy(facts, r->theirs + RING_P_MAGIC, sizeof facts);
    return facts[0] == RING_MAGIC && facts[1] == RING_VERSION && facts[2] == RING_DESCRIPTORS &&
           facts[3] == r->arena_size;
}

/* Records ready to be read; 0 while not attached. */
static uint32_t ready(struct wg_ring_in *r)
{
    if (load(r->theirs + RING_P_REQUEST_SEEN) != r->request)
        return 0;
    uint32_t epoch = load(r->theirs + RING_P_EPOCH), head = load(r->theirs + RING_P_HEAD);
    if (load(r->theirs + RING_P_REQUEST_SEEN) != r->request || load(r->theirs + RING_P_EPOCH) != epoch)
        return 0; /* the producer is starting anew: head may not be of this epoch */
    if (epoch != r->acknowledged) {
        if (!geometry_fits(r)) {
            count(&r->bad_index, 1);
            return 0;
        }
        r->acknowledged = epoch;
        r->tail = 0;
        store(r->own + RING_C_TAIL, 0);
        store(r->own + RING_C_ACKNOWLEDGED, epoch);
        count(&r->attaches, 1);
        kick(&r->space);
    }
    uint32_t n = head - r->tail;
    if (n <= RING_DESCRIPTORS)
        return n;
    count(&r->bad_index, 1);
    ask_anew(r);
    return 0;
}

struct record {
    uint32_t offset, length, packets, tos;
    struct wg_endpoint endpoint;
};

/* Copies the record's packets into the batch. False when it had no room there. */
static bool take_record(struct wg_ring_in *r, struct wg_batch *b)
{
    const uint8_t *d = r->theirs + RING_DESCRIPTOR_TABLE + (r->tail % RING_DESCRIPTORS) * RING_DESCRIPTOR_SIZE;
    struct record rec;
    uint32_t lengths[RING_RECORD_PACKETS];
    memcpy(&rec.offset, d + RING_D_OFFSET, 4);
    memcpy(&rec.length, d + RING_D_LENGTH, 4);
    memcpy(&rec.packets, d + RING_D_PACKETS, 4);
    memcpy(&rec.tos, d + RING_D_TOS, 4);
    memcpy(&rec.endpoint, d + RING_D_ENDPOINT, sizeof rec.endpoint);
    __asm__ volatile("" : "+m"(rec)); /* copied once: not read again from the neighbour */
    uint32_t table = rec.packets <= RING_RECORD_PACKETS ? round16(rec.packets * 4) : UINT32_MAX;
    bool bad = !rec.packets || table > rec.length || rec.length > RING_RECORD_BYTES ||
               rec.offset > r->arena_size || rec.length > r->arena_size - rec.offset;
    uint64_t total = table;
    const uint8_t *from = r->theirs + RING_ARENA + rec.offset;
    if (!bad) {
        memcpy(lengths, from, rec.packets * 4);
        __asm__ volatile("" : "+m"(lengths));
        for (uint32_t k = 0; k < rec.packets && !bad; k++) {
            bad = lengths[k] > WG_PACKET_MAX;
            total += bad ? 0 : round16(lengths[k]);
        }
    }
    if (bad || total > rec.length) {
        count(&r->bad_record, 1);
        count(&b->drops[WG_DROP_ring_record], 1);
        return true;
    }
    if (!batch_has_room(b, rec.packets, rec.length) || b->endpoints == WG_BATCH_PACKETS)
        return false;
    uint16_t ep = 0;
    if (rec.endpoint.family == 4 || rec.endpoint.family == 6) {
        ep = (uint16_t)b->endpoints++;
        b->endpoint[ep] = rec.endpoint;
    }
    from += table;
    for (uint32_t k = 0; k < rec.packets; k++) {
        struct wg_packet *p = batch_append(b, lengths[k]);
        memcpy(b->bytes + p->off, from, lengths[k]);
        from += round16(lengths[k]);
        p->ep = ep;
        p->tos = (uint8_t)rec.tos;
        count(&r->port.bytes_in, lengths[k]);
    }
    count(&r->port.packets_in, rec.packets);
    count(&r->port.calls_in, 1);
    return true;
}

static int ring_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    uint32_t before = b->n, tail = r->tail;
    if (load(r->own + RING_C_SLEEPING)) {
        store(r->own + RING_C_SLEEPING, 0);
        silence(&r->data);
    }
    for (uint32_t n = ready(r); n; n--) {
        if (!take_record(r, b))
            break;
        r->tail++;
    }
    if (r->tail != tail) {
        store(r->own + RING_C_TAIL, r->tail);
        atomic_thread_fence(memory_order_seq_cst);
        if (load(r->theirs + RING_P_SPACE_WANTED)) {
            count(&r->kicks, 1);
            kick(&r->space);
        }
    }
    return (int)(b->n - before);
}

/* Says that it sleeps, then looks once more: no record falls between the two. */
static bool ring_may_sleep(struct wg_port *port)
{
    struct wg_ring_in *r = (struct wg_ring_in *)port;
    store(r->own + RING_C_SLEEPING, 1);
    atomic_thread_fence(memory_order_seq_cst);
    return ready(r) == 0;
}

int ring_in_init(struct wg_ring_in *r, uint8_t *own, const uint8_t *theirs, size_t theirs_size,
                 struct wg_doorbell data, struct wg_doorbell space, uint32_t seed)
{
    if (theirs_size < RING_ARENA + RING_RECORD_BYTES || theirs_size > UINT32_MAX)
        return -EINVAL;
    memset(r, 0, sizeof *r);
    r->port.receive = ring_receive;
    r->port.may_sleep = ring_may_sleep;
    r->port.recheck_ms = RECHECK_MS;
    r->port.fds[0] = data.fd;
    r->port.fds[1] = -1;
    r->own = own;
    r->theirs = theirs;
    r->data = data;
    r->space = space;
    r->arena_size = (uint32_t)(theirs_size - RING_ARENA) / RING_RECORD_ALIGN * RING_RECORD_ALIGN;
    r->request = seed | 1;
    store(own + RING_C_SLEEPING, 0);
    store(own + RING_C_ACKNOWLEDGED, 0);
    ask_anew(r);
    return 0;
}
