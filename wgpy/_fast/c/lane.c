#include "lane.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

int marks_init(struct wg_marks *m, uint32_t slots)
{
    *m = (struct wg_marks){.slots = slots};
    pthread_mutex_init(&m->lock, NULL);
    m->list = calloc(slots, sizeof *m->list);
    m->bits = calloc(slots, sizeof *m->bits);
    m->listed = calloc(slots, sizeof *m->listed);
    return m->list && m->bits && m->listed ? 0 : -ENOMEM;
}

void marks_free(struct wg_marks *m)
{
    free(m->list);
    free(m->bits);
    free(m->listed);
}

bool marks_set(struct wg_marks *m, uint32_t slot, uint32_t bits)
{
    pthread_mutex_lock(&m->lock);
    bool news = (m->bits[slot] & bits) != bits;
    m->bits[slot] |= bits;
    if (!m->listed[slot]) {
        m->listed[slot] = true;
        m->list[(m->head + m->count++) % m->slots] = slot;
    }
    pthread_mutex_unlock(&m->lock);
    return news;
}

bool marks_take(struct wg_marks *m, uint32_t *slot, uint32_t *bits)
{
    *bits = 0;
    pthread_mutex_lock(&m->lock);
    while (m->count && !*bits) {
        *slot = m->list[m->head];
        m->head = (m->head + 1) % m->slots;
        m->count--;
        m->listed[*slot] = false;
        *bits = m->bits[*slot];
        m->bits[*slot] = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return *bits != 0;
}

void marks_clear(struct wg_marks *m, uint32_t slot)
{
    pthread_mutex_lock(&m->lock);
    m->bits[slot] = 0;
    pthread_mutex_unlock(&m->lock);
}

int lane_init(struct wg_lane *l, uint32_t slots)
{
    *l = (struct wg_lane){.slots = slots};
    pthread_mutex_init(&l->lock, NULL);
    l->entry = calloc(slots, sizeof *l->entry);
    return l->entry ? 0 : -ENOMEM;
}

/* An ICMP error quotes the packet it is about. */
void lane_free(struct wg_lane *l)
{
    if (l->entry)
        wipe(l->entry, l->slots * sizeof *l->entry);
    free(l->entry);
}

bool lane_has_room(struct wg_lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool room = l->count < l->slots;
    pthread_mutex_unlock(&l->lock);
    return room;
}

int lane_put(struct wg_lane *l, const uint8_t *bytes, uint32_t len, uint32_t peer, uint8_t tos,
             const struct wg_endpoint *endpoint)
{
    if (len > WG_LANE_BYTES)
        return -EMSGSIZE;
    int ret = -ENOBUFS;
    pthread_mutex_lock(&l->lock);
    if (l->count < l->slots) {
        struct wg_lane_entry *e = &l->entry[(l->head + l->count++) % l->slots];
        e->len = len;
        e->peer = peer;
        e->tos = tos;
        e->endpoint = endpoint ? *endpoint : (struct wg_endpoint){0};
        memcpy(e->bytes, bytes, len);
        ret = 0;
    }
    pthread_mutex_unlock(&l->lock);
    return ret;
}

const struct wg_lane_entry *lane_peek(struct wg_lane *l)
{
    pthread_mutex_lock(&l->lock);
    const struct wg_lane_entry *e = l->count ? &l->entry[l->head] : NULL;
    pthread_mutex_unlock(&l->lock);
    return e;
}

void lane_pop(struct wg_lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->head = (l->head + 1) % l->slots;
    l->count--;
    pthread_mutex_unlock(&l->lock);
}

uint32_t lane_forget(struct wg_lane *l, uint32_t peer)
{
    pthread_mutex_lock(&l->lock);
    uint32_t kept = 0, before = l->count;
    for (uint32_t i = 0; i < before; i++) {
        const struct wg_lane_entry *e = &l->entry[(l->head + i) % l->slots];
        if (e->peer == peer)
            continue;
        if (kept != i)
            l->entry[(l->head + kept) % l->slots] = *e;
        kept++;
    }
    l->count = kept;
    pthread_mutex_unlock(&l->lock);
    return before - kept;
}

int handshakes_init(struct wg_handshakes *h, uint32_t slots)
{
    *h = (struct wg_handshakes){.slots = slots};
    pthread_mutex_init(&h->lock, NULL);
    h->entry = calloc(slots, sizeof *h->entry);
    return h->entry ? 0 : -ENOMEM;
}

void handshakes_free(struct wg_handshakes *h)
{
    if (h->entry)
        wipe(h->entry, h->slots * sizeof *h->entry);
    free(h->entry);
}

bool handshakes_put(struct wg_handshakes *h, const uint8_t *bytes, uint32_t len,
                    const struct wg_endpoint *endpoint)
{
    pthread_mutex_lock(&h->lock);
    bool room = h->count < h->slots;
    if (room) {
        struct wg_handshake *e = &h->entry[(h->head + h->count++) % h->slots];
        e->len = len;
        e->endpoint = *endpoint;
        memcpy(e->bytes, bytes, len);
    }
    pthread_mutex_unlock(&h->lock);
    return room;
}

bool handshakes_take(struct wg_handshakes *h, struct wg_handshake *out)
{
    pthread_mutex_lock(&h->lock);
    bool any = h->count > 0;
    if (any) {
        *out = h->entry[h->head];
        h->head = (h->head + 1) % h->slots;
        h->count--;
    }
    pthread_mutex_unlock(&h->lock);
    return any;
}

uint32_t handshakes_depth(struct wg_handshakes *h)
{
    pthread_mutex_lock(&h->lock);
    uint32_t n = h->count;
    pthread_mutex_unlock(&h->lock);
    return n;
}

int waker_init(struct wg_waker *w)
{
    w->pending = false;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd < 0 ? -errno : 0;
}

void waker_free(struct wg_waker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void wake(struct wg_waker *w)
{
    uint64_t one = 1;
    if (atomic_exchange(&w->pending, true))
        return;
    ssize_t ignored = write(w->fd, &one, sizeof one);
    (void)ignored;
}

/* Call it before looking: what was put before a wake that this swallows is then found.
 * Before the other side has written, there is nothing to swallow: taking back `pending`
 * would leave a readable descriptor that no pump clears. */
void wake_clear(struct wg_waker *w)
{
    uint64_t drained;
    if (read(w->fd, &drained, sizeof drained) == sizeof drained)
        atomic_store(&w->pending, false);
}
