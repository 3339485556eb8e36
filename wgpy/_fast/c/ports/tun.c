/* The TUN port: one read is one super-packet that is split, one write a merged one.
 * drivers/net/tun.c, Documentation/networking/tuntap.rst.
 *
 * No lock: what is being split is the thread's that has the port as its source, what is merged the
 * thread's that has it as its sink; `merge` is atomic, since others look at it. */
#include "ports.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

/* A batch is handed on once it holds this much, so that the sender's core works while
 * the reader reads. */
enum { ENOUGH_BYTES = 96 * 1024, ENOUGH_PACKETS = WG_BATCH_PACKETS - WG_SEGMENTS_MAX };

static int read_one(struct wg_port_tun *t)
{
    struct wg_vnet *h = &t->split.h;
    uint8_t *packet = t->read + 16;
    struct iovec iov[2] = {{h, VNET_LEN}, {packet, WG_PACKET_MAX}};
    ssize_t head = t->bare ? 0 : VNET_LEN, n = readv(t->port.fds[0], iov + t->bare, 2 - t->bare);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return 0;
        return -errno;
    }
    if (n <= head)
        return 0;
    t->split.packet = packet;
    t->split.len = (uint32_t)(n - head);
    t->split.done = 0;
    count(&t->port.calls_in, 1);
    count(&t->port.bytes_in, t->split.len);
    return 1;
}

/* 64 KB of TCP make one segment or two more than one send can carry once sealed. Those
 * few wait for the next batch, where others join them: a send costs the same for two
 * segments as for forty. `first`: packet that the super-packet's segments begin with,
 * `done`: payload placed before it. Nothing is kept back unless a whole send is left. */
static void keep_back(struct wg_port_tun *t, struct wg_batch *b, uint32_t first, uint32_t done)
{
    uint32_t size = b->packet[first].len, begin = first;
    uint32_t whole = WG_DATAGRAM_MAX / (size + t->overhead);
    if (whole > WG_SEGMENTS_MAX)
        whole = WG_SEGMENTS_MAX;
    while (begin > 0 && b->packet[begin - 1].len == size)
        begin--;
    uint32_t surplus = whole ? (b->n - begin) % whole : 0;
    if (!surplus || surplus * 2 > whole || surplus >= b->n - first || b->n - begin < whole)
        return;
    b->n -= surplus;
    b->used = b->packet[b->n].off - WG_HEADROOM;
    t->split.done = done + (b->n - first) * t->split.h.gso_size;
    t->splitting = true;
}

static int tun_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_tun *t = (struct wg_port_tun *)port;
    uint32_t before = b->n, first = 0, done = 0;
    port->drained = false;
    while (b->used < ENOUGH_BYTES && b->n < ENOUGH_PACKETS) {
        if (!t->splitting) {
            int got = read_one(t);
            if (got <= 0) {
                if (got < 0 && b->n == before)
                    return got;
                port->drained = got == 0;
                break;
            }
        }
        first = b->n;
        done = t->split.done;
        t->splitting = !split(&t->split, b);
        if (t->splitting)
            break;
    }
    if (!t->splitting && b->n > first + 1 && t->split.h.gso_type != VNET_GSO_NONE)
        keep_back(t, b, first, done);
    port->drained &= !t->splitting;
    count(&port->packets_in, b->n - before);
    return (int)(b->n - before);
}

/* Does one of the output's pieces lie in the packet? */
static bool merged_into(struct wg_port_tun *t, struct wg_batch *b, struct wg_merged *o, struct wg_packet *p)
{
    const uint8_t *from = b->bytes + p->off;
    for (uint32_t k = 1; k < o->iov_count; k++) {
        const uint8_t *piece = t->merged.iov[o->iov_start + k].iov_base;
        if (piece >= from && piece < from + p->len)
            return true;
    }
    return false;
}

/* Packet by packet, for a kernel that refused the merged write; it is not asked again. */
static void write_unmerged(struct wg_port_tun *t, struct wg_batch *b, struct wg_merged *o)
{
    struct wg_vnet none = {0};
    atomic_fetch_and(&t->merge, o->vnet.gso_type == VNET_GSO_UDP_L4 ? ~(unsigned)MERGE_UDP : ~(unsigned)MERGE_TCP);
    merge_undo(b, o);
    for (uint32_t i = o->first, left = o->packets; i < b->n && left; i++) {
        struct wg_packet *p = &b->packet[i];
        if (!p->live || !merged_into(t, b, o, p))
            continue;
        struct iovec iov[2] = {{&none, VNET_LEN}, {b->bytes + p->off, p->len}};
        if (writev(t->port.fds[0], iov, 2) < 0)
            count(&b->drops[WG_DROP_tun_write], 1);
        left--;
    }
}

static void tun_send(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_tun *t = (struct wg_port_tun *)port;
    struct wg_merge *m = &t->merged;
    merge(b, m, atomic_load_explicit(&t->merge, memory_order_relaxed));
    for (uint32_t i = 0; i < m->n; i++) {
        struct wg_merged *o = &m->out[i];
        ssize_t n = writev(port->fds[0], m->iov + o->iov_start + t->bare, (int)o->iov_count - t->bare);
        count(&port->calls_out, 1);
        if (n >= 0) {
            count(&port->packets_out, o->packets);
            count(&port->bytes_out, o->len);
        } else if (errno == EINVAL && o->packets > 1) {
            write_unmerged(t, b, o);
        } else {
            count(&b->drops[WG_DROP_tun_write], o->packets);
        }
    }
}

void port_tun_init(struct wg_port_tun *t, int fd, unsigned merge, bool bare, uint32_t overhead)
{
    t->port.receive = tun_receive;
    t->port.send = tun_send;
    port_has_fd(&t->port, fd);
    t->merge = bare ? 0 : merge;
    t->bare = bare;
    t->overhead = overhead;
    t->split.h = (struct wg_vnet){0};
    t->splitting = false;
}
