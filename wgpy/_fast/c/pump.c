#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FEW = 4 };

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
    p->sink = sink;
    void *bytes = mmap(NULL, WG_BATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bytes == MAP_FAILED || p->stop_fd < 0)
        return -ENOMEM;
    p->bytes = p->batch.bytes = bytes;
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

int pump_step(struct wg_pump *p, uint64_t now)
{
    struct wg_batch *b = &p->batch;
    batch_reset(b);
    uint8_t *lent = p->lends ? p->sink->lend(p->sink) : NULL;
    b->bytes = lent ? lent : p->bytes;
    b->now = now ? now : pump_clock();
    if (!p->running)
        p->source->rang = UINT8_MAX; /* nobody polls */
    struct wg_waker *waker = p->stage ? p->stage->waker : NULL;
    if (waker && (p->more || atomic_load_explicit(&waker->pending, memory_order_acquire)))
        p->more = p->stage->pull(p->stage, b);
    int got = p->source->receive(p->source, b);
    if (got < 0 && !b->n)
        return got;
    if (!b->n)
        return 0;
    if (p->stage)
        p->stage->run(p->stage, b);
    p->sink->send(p->sink, b);
    if (p->source->in_place)
        p->source->release(p->source);
    if (p->stage && p->stage->sent)
        p->stage->sent(p->stage, b);
    count(&p->batches, 1);
    return (int)b->n;
}

/* Sleeps until a port, the stage or pump_stop has something. The sink is looked after if
 * it rang, or nothing did. */
static void sleep_until_work(struct wg_pump *p)
{
    struct pollfd fds[5] = {
        {.fd = p->source->fds[0], .events = POLLIN},
        {.fd = p->source->fds[1], .events = POLLIN},
        {.fd = p->stage && p->stage->waker ? p->stage->waker->fd : -1, .events = POLLIN},
        {.fd = p->stop_fd, .events = POLLIN},
        {.fd = p->sink->service ? p->sink->fds[0] : -1, .events = POLLIN},
    };
    int wait = p->source->recheck_ms ? p->source->recheck_ms : -1;
    if (p->sink->recheck_ms && (wait < 0 || p->sink->recheck_ms < wait))
        wait = p->sink->recheck_ms;
    if (p->source->may_sleep && !p->source->may_sleep(p->source))
        return;
    count(&p->sleeps, 1);
    int rang = poll(fds, 5, wait);
    p->source->rang = (uint8_t)((fds[0].revents != 0) | (fds[1].revents != 0) << 1);
    if (p->sink->service && (rang <= 0 || fds[4].revents))
        p->sink->service(p->sink);
}

/* After a few packets that were all there was, poll tells as well as another read whether
 * there are more, and one of the two is enough. */
int pump_run(struct wg_pump *p)
{
    int n = 0;
    p->running = true;
    p->source->rang = UINT8_MAX;
    if (p->sink->service)
        p->sink->service(p->sink);
    while (n >= 0 && !atomic_load_explicit(&p->stopping, memory_order_relaxed)) {
        n = pump_step(p, 0);
        if (n >= 0 && !p->more && (n == 0 || (n <= FEW && p->source->drained)))
            sleep_until_work(p);
    }
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
