/* Packets in memory. The queue's lock guards the entries and the bytes they point to, so that put and
 * take may come from other threads than the pump's; `repeat` and `discard` never change. */
#include "ports.h"

#include <stdlib.h>

void port_mem_drop(struct wg_mem_entry *e)
{
    wipe(e->bytes, e->len);
    free(e->bytes);
}

static int mem_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_mem *m = (struct wg_port_mem *)port;
    uint32_t before = b->n;
    pthread_mutex_lock(&m->queue.lock);
    for (uint32_t i = 0; i < m->queue.count && b->endpoints < WG_BATCH_PACKETS;) {
        struct wg_mem_entry *e = queue_at(&m->queue, i);
        if (!batch_has_room(b, 1, e->len))
            break;
        struct wg_packet *p = batch_append(b, e->len);
        memcpy(b->bytes + p->off, e->bytes, e->len);
        p->tos = e->tos;
        if (e->endpoint.family) /* packets of a TUN have none */
            p->ep = batch_endpoint(b, &e->endpoint);
        if (m->repeat) {
            i++;
        } else {
            port_mem_drop(e);
            queue_shift(&m->queue);
        }
    }
    pthread_mutex_unlock(&m->queue.lock);
    count(&port->packets_in, b->n - before);
    return (int)(b->n - before);
}

static bool mem_crowded(struct wg_port *port)
{
    struct wg_port_mem *m = (struct wg_port_mem *)port;
    return !m->repeat && queue_depth(&m->queue) >= WG_MEM_SLOTS / 4;
}

static void mem_send(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_mem *m = (struct wg_port_mem *)port;
    for (uint32_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live)
            continue;
        const struct wg_endpoint *e = b->endpoints ? &b->endpoint[p->ep] : NULL;
        if (!m->discard && !port_mem_put(m, b->bytes + p->off, p->len, p->tos, e)) {
            batch_drop(b, p, WG_DROP_queue_full);
            continue;
        }
        count(&port->packets_out, 1);
        count(&port->bytes_out, p->len);
    }
}

bool port_mem_put(struct wg_port_mem *m, const uint8_t *bytes, uint32_t len, uint8_t tos,
                  const struct wg_endpoint *e)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        return false;
    memcpy(copy, bytes, len);
    struct wg_mem_entry *entry = queue_put_begin(&m->queue);
    if (!entry) {
        free(copy);
        return false;
    }
    *entry = (struct wg_mem_entry){.len = len, .tos = tos, .bytes = copy};
    if (e)
        entry->endpoint = *e;
    queue_put_end(&m->queue);
    return true;
}

bool port_mem_take(struct wg_port_mem *m, struct wg_mem_entry *out) { return queue_take(&m->queue, out); }

int port_mem_init(struct wg_port_mem *m, bool repeat, bool discard)
{
    *m = (struct wg_port_mem){.repeat = repeat, .discard = discard};
    m->port.receive = mem_receive;
    m->port.crowded = mem_crowded;
    m->port.send = mem_send;
    port_has_fd(&m->port, -1);
    return queue_init(&m->queue, WG_MEM_SLOTS, sizeof(struct wg_mem_entry));
}

void port_mem_free(struct wg_port_mem *m)
{
    struct wg_mem_entry e;
    while (m->queue.entry && port_mem_take(m, &e))
        port_mem_drop(&e);
    queue_free(&m->queue);
}
