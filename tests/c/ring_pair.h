/* Both ends of a ring over heap memory of exactly its size, so that a sanitizer sees a
 * byte too far, and batches for each end. */
#ifndef RING_PAIR_H
#define RING_PAIR_H

#include "check.h"
#include "ring/ring.h"

struct pair {
    size_t size;
    uint8_t *producer, *consumer; /* the shared areas */
    struct wg_ring_out out;
    struct wg_ring_in in;
    struct wg_batch *sent, *got;
    uint8_t *own_sent, *own_got; /* their private memory */
    struct wg_doorbell data, space;
    uint32_t starts;
};

static inline struct wg_batch *new_batch(void)
{
    struct wg_batch *b = calloc(1, sizeof *b);
    b->bytes = aligned_alloc(64, WG_BATCH_BYTES);
    memset(b->bytes, 0, WG_BATCH_BYTES);
    return b;
}

static inline void free_batch(struct wg_batch *b)
{
    free(b->bytes);
    free(b);
}

static inline void start_producer(struct pair *p, bool datagrams)
{
    struct wg_ring_options o = {.datagrams = datagrams, .seed = 1000 * ++p->starts};
    CHECK(ring_out_init(&p->out, p->producer, p->size, p->consumer, p->data, p->space, o) == 0);
}

static inline void start_consumer(struct pair *p, bool datagrams)
{
    struct wg_ring_options o = {.datagrams = datagrams, .seed = 1000 * ++p->starts};
    CHECK(ring_in_init(&p->in, p->consumer, p->producer, p->size, p->data, p->space, o) == 0);
}

static inline struct pair *new_pair(size_t size, bool datagrams)
{
    struct pair *p = calloc(1, sizeof *p);
    p->size = size;
    p->producer = aligned_alloc(4096, size);
    p->consumer = aligned_alloc(4096, RING_CONSUMER_SIZE);
    memset(p->producer, 0, size);
    memset(p->consumer, 0, RING_CONSUMER_SIZE);
    p->data = p->space = (struct wg_doorbell){.fd = -1};
    p->sent = new_batch();
    p->got = new_batch();
    p->own_sent = p->sent->bytes;
    p->own_got = p->got->bytes;
    start_producer(p, datagrams);
    start_consumer(p, datagrams);
    return p;
}

static inline void free_pair(struct pair *p)
{
    p->sent->bytes = p->own_sent;
    p->got->bytes = p->own_got;
    free_batch(p->sent);
    free_batch(p->got);
    free(p->producer);
    free(p->consumer);
    free(p);
}

static inline uint8_t *queue(struct wg_batch *b, uint32_t len)
{
    CHECK(batch_has_room(b, 1, len));
    return b->bytes + batch_append(b, len)->off;
}

/* An endpoint that all packets queued after it have. */
static inline void from_endpoint(struct wg_batch *b, uint8_t last)
{
    b->endpoint[b->endpoints++] = (struct wg_endpoint){.family = 4, .port = 51820, .addr = {192, 0, 2, last}};
}

static inline void send_all(struct pair *p)
{
    p->out.port.send(&p->out.port, p->sent);
    batch_reset(p->sent);
    p->sent->bytes = p->own_sent;
}

/* As a pump does before it receives. */
static inline bool borrow(struct pair *p)
{
    uint8_t *lent = p->out.port.lend(&p->out.port);
    p->sent->bytes = lent ? lent : p->own_sent;
    return lent;
}

static inline uint32_t receive(struct pair *p)
{
    batch_reset(p->got);
    p->got->bytes = p->own_got;
    int n = p->in.port.receive(&p->in.port, p->got);
    CHECK(n >= 0 && (uint32_t)n == p->got->n);
    return (uint32_t)n;
}

static inline void send_one(struct pair *p, uint32_t len, uint8_t fill)
{
    memset(queue(p->sent, len), fill, len);
    send_all(p);
}

static inline void expect_one(struct pair *p, uint32_t len, uint8_t fill)
{
    CHECK(receive(p) == 1 && p->got->packet[0].len == len);
    for (uint32_t i = 0; i < len; i++)
        CHECK(p->got->bytes[p->got->packet[0].off + i] == fill);
}

/* Turns of both ends until the consumer has acknowledged the producer's epoch. */
static inline void join(struct pair *p)
{
    p->out.port.service(&p->out.port);
    receive(p);
    p->out.port.service(&p->out.port);
}

static inline uint32_t word(const uint8_t *area, uint32_t at)
{
    uint32_t v;
    memcpy(&v, area + at, 4);
    return v;
}

static inline void poke(uint8_t *area, uint32_t at, uint32_t v) { memcpy(area + at, &v, 4); }

#endif
