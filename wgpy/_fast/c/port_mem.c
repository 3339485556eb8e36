#include "ports.h"

#include <errno.h>
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
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->count && b->endpoints < WG_BATCH_PACKETS; i++) {
        struct wg_mem_entry *e = &m->entry[(m->head + (m->repeat ? i : 0)) % WG_MEM_SLOTS];
        if (!batch_has_room(b, 1, e->len))
            break;
        struct wg_packet *p = batch_append(b, e->len);
        memcpy(b->bytes + p->off, e->bytes, e->len);
        p->tos = e->tos;
        if (e->endpoint.family) /* packets of a TUN have none */
            p->ep = batch_endpoint(b, &e->endpoint);
        if (!m->repeat) {
            port_mem_drop(e);
            m->head = (m->head + 1) % WG_MEM_SLOTS;
            m->count--;
            i--;
        }
    }
    pthread_mutex_unlock(&m->lock);
    count(&port->packets_in, b->n - before);
    return (int)(b->n - before);
}

static bool mem_crowded(struct wg_port *port)
{
    struct wg_port_mem *m = (struct wg_port_mem *)port;
    pthread_mutex_lock(&m->lock);
    bool crowded = !m->repeat && m->count >= WG_MEM_SLOTS / 4;
    pthread_mutex_unlock(&m->lock);
    return crowded;
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
    pthread_mutex_lock(&m->lock);
    bool room = m->count < WG_MEM_SLOTS;
    if (room) {
        struct wg_mem_entry *entry = &m->entry[(m->head + m->count++) % WG_MEM_SLOTS];
        memset(entry, 0, sizeof *entry);
        entry->len = len;
        entry->tos = tos;
        entry->bytes = copy;
        if (e)
            entry->endpoint = *e;
    }
    pthread_mutex_unlock(&m->lock);
    if (!room)
        free(copy);
    return room;
}

bool port_mem_take(struct wg_port_mem *m, struct wg_mem_entry *out)
{
    pthread_mutex_lock(&m->lock);
    bool any = m->count > 0;
    if (any) {
        *out = m->entry[m->head];
        m->head = (m->head + 1) % WG_MEM_SLOTS;
        m->count--;
    }
    pthread_mutex_unlock(&m->lock);
    return any;
}

int port_mem_init(struct wg_port_mem *m, bool repeat, bool discard)
{
    *m = (struct wg_port_mem){.repeat = repeat, .discard = discard};
    pthread_mutex_init(&m->lock, NULL);
    m->port.receive = mem_receive;
    m->port.crowded = mem_crowded;
    m->port.send = mem_send;
    m->port.fds[0] = m->port.fds[1] = -1;
    return 0;
}

void port_mem_free(struct wg_port_mem *m)
{
    struct wg_mem_entry e;
    while (port_mem_take(m, &e))
        port_mem_drop(&e);
}
