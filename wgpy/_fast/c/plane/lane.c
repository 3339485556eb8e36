/* What crosses between the control thread and the pumps. Each set of marks and each
 * queue has a lock of its own, and no other is taken while it is held. A waker has none: `pending`
 * says whether its descriptor was written and not yet read. */
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

int lane_init(struct wg_lane *l, uint32_t slots) { return queue_init(&l->queue, slots, sizeof(struct wg_lane_entry)); }
void lane_free(struct wg_lane *l) { queue_free(&l->queue); }
uint32_t lane_depth(struct wg_lane *l) { return queue_depth(&l->queue); }
const struct wg_lane_entry *lane_peek(struct wg_lane *l) { return queue_peek(&l->queue); }
void lane_pop(struct wg_lane *l) { queue_pop(&l->queue); }

int lane_put(struct wg_lane *l, const uint8_t *bytes, uint32_t len, uint32_t peer, uint8_t tos,
             const struct wg_endpoint *endpoint)
{
    if (len > WG_LANE_BYTES)
        return -EMSGSIZE;
    struct wg_lane_entry *e = queue_put_begin(&l->queue);
    if (!e)
        return -ENOBUFS;
    e->len = len;
    e->peer = peer;
    e->tos = tos;
    e->endpoint = endpoint ? *endpoint : (struct wg_endpoint){0};
    memcpy(e->bytes, bytes, len);
    queue_put_end(&l->queue);
    return 0;
}

static bool is_for(const void *entry, uint32_t peer) { return ((const struct wg_lane_entry *)entry)->peer == peer; }

uint32_t lane_forget(struct wg_lane *l, uint32_t peer) { return queue_forget(&l->queue, is_for, peer); }

int handshakes_init(struct wg_handshakes *h, uint32_t slots, uint32_t longest)
{
    return queue_init(&h->queue, slots, offsetof(struct wg_handshake, bytes) + round16(longest));
}
void handshakes_free(struct wg_handshakes *h) { queue_free(&h->queue); }
uint32_t handshakes_depth(struct wg_handshakes *h) { return queue_depth(&h->queue); }
bool handshakes_take(struct wg_handshakes *h, struct wg_handshake *out) { return queue_take(&h->queue, out); }

bool handshakes_put(struct wg_handshakes *h, const uint8_t *bytes, uint32_t len,
                    const struct wg_endpoint *endpoint)
{
    struct wg_handshake *e = queue_put_begin(&h->queue);
    if (!e)
        return false;
    e->len = len;
    e->endpoint = *endpoint;
    memcpy(e->bytes, bytes, len);
    queue_put_end(&h->queue);
    return true;
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
