/* Pumps and groups of them. A pump's fields, and the batch in it, are its thread's, but `stopping`
 * and `crowded`, which are atomic, and the counters. Of a group
 *
 *   lead   guards tickets, more, begun, the source port, and the stage's pull and begin: its
 *          holder is the leader
 *   turn   who holds the ticket `turn` has the sink port; it is written under `lock`, so that
 *          nobody misses the signal
 *
 * Order: lead, lock; whoever waits for its turn holds neither, or leads. */
#define _GNU_SOURCE
#include "pump.h"

#include "burn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    FEW = 4,
    HELD_MS = 1,
    CROWDED = WG_FULL / 4,
    WORTH_SHARING = 16, /* packets: fewer are sealed sooner than another thread wakes */
};

uint64_t pump_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * WG_SECOND + (uint64_t)t.tv_nsec;
}

int pump_init(struct wg_pump *p, struct wg_port *source, struct wg_stage *stage, struct wg_port *sink)
{
    memset(p, 0, sizeof *p);
    p->source = source;
    p->stage = stage;
    p->waker = stage ? stage->waker : NULL;
    p->sink = sink;
    void *bytes = mmap(NULL, WG_BATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->bytes = p->batch.bytes = bytes == MAP_FAILED ? NULL : bytes;
    if (!p->bytes || p->stop_fd < 0)
        return -ENOMEM;
    bool open = !stage || !stage->secret;
    p->lends = open && sink->lend;
    source->in_place = open && source->release && sink->only_reads;
    return 0;
}

void pump_free(struct wg_pump *p)
{
    if (p->bytes) {
        wipe(p->bytes, WG_BATCH_BYTES);
        munmap(p->bytes, WG_BATCH_BYTES);
    }
    if (p->stop_fd >= 0)
        close(p->stop_fd);
}

/* Of the pump, or of all in its group. */
static _Atomic bool *crowded_sink(struct wg_pump *p) { return p->group ? &p->group->crowded : &p->crowded; }

/* Fills the batch. Packets, or -errno when there are none and the source is gone. */
static int take(struct wg_pump *p, uint64_t now)
{
    struct wg_batch *b = &p->batch;
    batch_reset(b);
    uint8_t *lent = p->lends ? p->sink->lend(p->sink) : NULL;
    b->bytes = lent ? lent : p->bytes;
    b->now = now ? now : pump_clock();
    if (!p->running)
        p->source->rang = UINT8_MAX; /* nobody polls */
    if (p->sink->filled)
        b->room = WG_FULL - p->sink->filled(p->sink);
    if (p->waker && (p->more || p->held || atomic_load_explicit(&p->waker->pending, memory_order_acquire))) {
        p->more = p->stage->pull(p->stage, b);
        p->held = b->held;
    }
    int got = p->source->receive(p->source, b);
    if (p->stage && p->stage->shares && got > 0)
        b->pressed = atomic_load_explicit(crowded_sink(p), memory_order_relaxed) ||
                     (!p->source->drained && p->source->crowded && p->source->crowded(p->source));
    return got < 0 && !b->n ? got : (int)b->n;
}

static void give(struct wg_pump *p)
{
    struct wg_batch *b = &p->batch;
    p->sink->send(p->sink, b);
    if (p->source->in_place)
        p->source->release(p->source);
    if (p->stage && p->stage->shares && p->sink->filled)
        atomic_store_explicit(crowded_sink(p), p->sink->filled(p->sink) >= CROWDED, memory_order_relaxed);
    if (p->stage && p->stage->sent)
        p->stage->sent(p->stage, b);
    count(&p->batches, 1);
}

/* Before its thread sleeps or returns. From the frame that ran the stage, or above it. */
static void burn(struct wg_pump *p)
{
    if (p->soiled)
        burn_stack();
    p->soiled = false;
}

static int step(struct wg_pump *p, uint64_t now)
{
    int n = take(p, now);
    if (n <= 0)
        return n;
    p->soiled = p->stage != NULL;
    if (p->stage)
        p->stage->run(p->stage, &p->batch);
    give(p);
    return n;
}

int pump_step(struct wg_pump *p, uint64_t now)
{
    int n = step(p, now);
    burn(p);
    return n;
}

static bool is_turn(struct wg_group *g, uint64_t ticket)
{
    return atomic_load_explicit(&g->turn, memory_order_acquire) == ticket;
}

static void await_turn(struct wg_group *g, uint64_t ticket)
{
    if (is_turn(g, ticket))
        return;
    pthread_mutex_lock(&g->lock);
    while (atomic_load_explicit(&g->turn, memory_order_relaxed) != ticket)
        pthread_cond_wait(&g->reached[ticket % g->n], &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void pass_turn(struct wg_group *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t next = atomic_load_explicit(&g->turn, memory_order_relaxed) + 1;
    atomic_store_explicit(&g->turn, next, memory_order_release);
    pthread_cond_signal(&g->reached[next % g->n]);
    pthread_mutex_unlock(&g->lock);
}

/* Nobody else sends meanwhile; in a group the caller leads. */
static void look_after_sink(struct wg_pump *p)
{
    if (p->group)
        await_turn(p->group, p->group->tickets);
    p->sink->service(p->sink);
}

/* Sleeps until a port, the stage or pump_stop has something. The sink is looked after if
 * it rang, or nothing did. */
static void sleep_until_work(struct wg_pump *p)
{
    enum { WAKER = WG_PORT_FDS, STOP, SINK, ALL };
    struct pollfd fds[ALL] = {
        [WAKER] = {.fd = p->waker ? p->waker->fd : -1, .events = POLLIN},
        [STOP] = {.fd = p->stop_fd, .events = POLLIN},
        [SINK] = {.fd = p->sink->service ? p->sink->fds[0] : -1, .events = POLLIN},
    };
    for (int i = 0; i < WG_PORT_FDS; i++)
        fds[i] = (struct pollfd){.fd = p->source->fds[i], .events = POLLIN};
    int wait = p->source->recheck_ms ? p->source->recheck_ms : -1;
    if (p->sink->recheck_ms && (wait < 0 || p->sink->recheck_ms < wait))
        wait = p->sink->recheck_ms;
    if (p->held)
        wait = HELD_MS;
    if (p->source->may_sleep && !p->source->may_sleep(p->source))
        return;
    count(&p->sleeps, 1);
    int rang = poll(fds, ALL, wait);
    p->source->rang = 0;
    for (int i = 0; i < WG_PORT_FDS; i++)
        p->source->rang |= (uint8_t)((fds[i].revents != 0) << i);
    if (p->sink->service && (rang <= 0 || fds[SINK].revents))
        look_after_sink(p);
}

/* After a few packets that were all there was, poll tells as well as another read whether
 * there are more, and one of the two is enough. */
static bool nothing_left(const struct wg_pump *p, int n)
{
    return n >= 0 && !p->more && (n == 0 || (n <= FEW && p->source->drained));
}

/* From the batch that was taken to the one that may be taken: the caller leads at both. */
static void group_turn(struct wg_pump *p, bool shared)
{
    struct wg_group *g = p->group;
    uint64_t ticket = g->tickets++;
    if (shared) {
        if (p->stage->begin)
            p->stage->begin(p->stage, &p->batch);
        pthread_mutex_unlock(&g->lead);
    }
    p->soiled = true;
    (shared && p->stage->begin ? p->stage->finish : p->stage->run)(p->stage, &p->batch);
    if (!is_turn(g, ticket)) {
        burn(p);
        await_turn(g, ticket);
    }
    give(p);
    pass_turn(g);
    if (shared && pthread_mutex_trylock(&g->lead)) { /* others may lead for long */
        burn(p);
        pthread_mutex_lock(&g->lead);
    }
}

static int group_run(struct wg_pump *p)
{
    struct wg_group *g = p->group;
    int n = 0;
    pthread_mutex_lock(&g->lead);
    p->running = true;
    p->source->rang = UINT8_MAX;
    if (p->sink->service && !g->begun)
        look_after_sink(p);
    g->begun = true;
    while (n >= 0 && !atomic_load_explicit(&p->stopping, memory_order_relaxed)) {
        p->more = g->more;
        p->held = g->held;
        n = take(p, 0);
        g->more = p->more;
        g->held = p->held;
        bool shared = n > WORTH_SHARING && !p->source->drained;
        if (n > 0)
            group_turn(p, shared);
        if (!shared && nothing_left(p, n)) {
            burn(p);
            sleep_until_work(p);
        }
    }
    burn(p);
    p->running = false;
    for (uint32_t i = 0; n < 0 && i < g->n; i++)
        pump_stop(&g->member[i]);
    pthread_mutex_unlock(&g->lead);
    return n < 0 ? n : 0;
}

int pump_run(struct wg_pump *p)
{
    if (p->group)
        return group_run(p);
    int n = 0;
    p->running = true;
    p->source->rang = UINT8_MAX;
    if (p->sink->service)
        look_after_sink(p);
    while (n >= 0 && !atomic_load_explicit(&p->stopping, memory_order_relaxed)) {
        n = step(p, 0);
        if (nothing_left(p, n)) {
            burn(p);
            sleep_until_work(p);
        }
    }
    burn(p);
    p->running = false;
    return n < 0 ? n : 0;
}

void pump_stop(struct wg_pump *p)
{
    uint64_t one = 1;
    atomic_store(&p->stopping, true);
    ssize_t ignored = write(p->stop_fd, &one, sizeof one);
    (void)ignored;
}

void group_init(struct wg_group *g, struct wg_pump *member, uint32_t n)
{
    *g = (struct wg_group){.n = n, .member = member};
    pthread_mutex_init(&g->lead, NULL);
    pthread_mutex_init(&g->lock, NULL);
    for (uint32_t i = 0; i < n; i++) {
        pthread_cond_init(&g->reached[i], NULL);
        member[i].group = g;
        member[i].waker = member->waker;
        member[i].lends = false;
    }
    member->source->in_place = false;
}

void group_free(struct wg_group *g)
{
    for (uint32_t i = 0; i < g->n; i++)
        pthread_cond_destroy(&g->reached[i]);
    pthread_mutex_destroy(&g->lock);
    pthread_mutex_destroy(&g->lead);
}
