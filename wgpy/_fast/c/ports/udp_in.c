/* Receiving at the UDP port: GRO, a train a system call straight into the batch; what is no
 * transport message comes by sockets of its own (ports.h, wg_udp_aside). udp(7), ip(7).
 * No lock: `turn` and `aside` are the thread's that has the port as its source. */
#define _GNU_SOURCE
#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { LOOK_EVERY = 16, CROWDED_PART = 16, BUSY = 64, ASIDE_RANG = 1 << 2 | 1 << 3 };

static void endpoint_from(struct wg_endpoint *e, const union wg_address *a)
{
    memset(e, 0, sizeof *e);
    if (a->any.sa_family == AF_INET) {
        e->family = 4;
        e->port = ntohs(a->v4.sin_port);
        memcpy(e->addr, &a->v4.sin_addr, 4);
    } else {
        e->family = 6;
        e->port = ntohs(a->v6.sin6_port);
        e->scope = a->v6.sin6_scope_id;
        memcpy(e->addr, &a->v6.sin6_addr, 16);
    }
}

static void read_control(struct msghdr *msg, struct wg_received *r)
{
    struct wg_endpoint *e = &r->from;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(e->local, &info.ipi_spec_dst, 4);
            e->ifindex = (uint32_t)info.ipi_ifindex;
            e->source = WG_SOURCE_KNOWN;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(e->local, &info.ipi6_addr, 16);
            e->ifindex = (uint32_t)info.ipi6_ifindex;
            e->source = WG_SOURCE_KNOWN;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            r->tos = *(uint8_t *)CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int v;
            memcpy(&v, CMSG_DATA(c), sizeof v);
            r->tos = (uint8_t)v;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int v;
            memcpy(&v, CMSG_DATA(c), sizeof v);
            r->segment = v > 0 ? (uint32_t)v : 0;
        }
    }
}

static struct wg_received received(struct msghdr *msg, const union wg_address *from, uint32_t len)
{
    struct wg_received r = {.len = len};
    endpoint_from(&r.from, from);
    read_control(msg, &r);
    if (!r.segment || r.segment > len)
        r.segment = len;
    return r;
}

/* Of the datagram that begins at `off` of a train. */
static uint32_t length_at(const struct wg_received *r, uint32_t off)
{
    return r->len - off < r->segment ? r->len - off : r->segment;
}

/* --- transport --- */

/* One recvmsg straight into the batch. 1: something, 0: nothing there, -1: no room. */
static int receive_one(struct wg_port *port, struct wg_batch *b, int fd)
{
    if (b->n + WG_SEGMENTS_MAX > WG_BATCH_PACKETS ||
        b->used + WG_HEADROOM + round16(WG_PACKET_MAX) + WG_TAILROOM > WG_BATCH_BYTES)
        return -1;
    union wg_address from;
    _Alignas(8) uint8_t control[WG_CONTROL];
    uint32_t base = b->used + WG_HEADROOM;
    struct iovec iov = {b->bytes + base, WG_PACKET_MAX};
    struct msghdr msg = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1,
                         .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
    if (n < 0) /* errors pending on the socket (ICMP) are passed over: the next call gives data */
        return errno == EAGAIN || errno == EBADF || errno == ENOTCONN ? 0 : 1;
    count(&port->calls_in, 1);
    count(&port->bytes_in, (uint64_t)n);
    if (msg.msg_flags & MSG_TRUNC) {
        count(&b->drops[WG_DROP_truncated], 1);
        return 1;
    }
    struct wg_received r = received(&msg, &from, (uint32_t)n);
    uint16_t ep = batch_endpoint(b, &r.from);
    uint32_t off = 0;
    do {
        if (b->n == WG_BATCH_PACKETS) { /* a sender on this host may fill 128 segments */
            count(&b->drops[WG_DROP_truncated], (r.len - off + r.segment - 1) / r.segment);
            break;
        }
        struct wg_packet *p = &b->packet[b->n++];
        *p = (struct wg_packet){.off = base + off, .len = length_at(&r, off),
                                .peer = WG_NO_PEER, .ep = ep, .tos = r.tos, .live = 1};
        off += r.segment;
    } while (off < r.len);
    b->used = base + round16(r.len) + WG_TAILROOM;
    return 1;
}

/* The families take turns: one whose datagrams fill every batch does not silence the other.
 * An idle one is looked at every LOOK_EVERY batches. */
static void receive_transport(struct wg_port_udp *u, struct wg_batch *b)
{
    struct wg_port *port = &u->port;
    port->drained = true;
    for (unsigned k = 0; k < 2; k++) {
        unsigned i = (k ^ u->turn) & 1, had = b->n;
        int got = port->fds[i] >= 0 && port->rang & 1u << i;
        for (int tries = 0; got > 0 && tries < WG_BATCH_PACKETS / 2; tries++)
            got = receive_one(port, b, port->fds[i]);
        port->drained &= got == 0;
        if (u->turn % LOOK_EVERY == 0 && b->n == had)
            port->rang &= (uint8_t)~(1u << i);
    }
}

/* --- what is no transport message --- */

static uint8_t *message_bytes(struct wg_udp_aside *a, uint32_t i) { return a->bytes + (size_t)i * WG_ASIDE_STRIDE; }

/* Into the batch, as far as there is room; false when some remain for the next one. */
static bool pass_on(struct wg_udp_aside *a, struct wg_batch *b)
{
    for (; a->next < a->n; a->next++, a->off = 0) {
        const struct wg_received *r = &a->got[a->next];
        do {
            uint32_t len = length_at(r, a->off);
            if (b->n >= a->most || b->used > WG_BATCH_BYTES / 2)
                return false;
            struct wg_packet *p = batch_append(b, len);
            p->ep = batch_endpoint(b, &r->from);
            p->tos = r->tos;
            memcpy(b->bytes + p->off, message_bytes(a, a->next) + a->off, len);
            a->off += len;
        } while (a->off < r->len);
    }
    return true;
}

/* One recvmmsg: messages, 0 when there are none. */
static uint32_t read_messages(struct wg_port_udp *u, int fd)
{
    struct wg_udp_aside *a = &u->aside;
    union wg_address from[WG_ASIDE_MESSAGES];
    _Alignas(8) uint8_t control[WG_ASIDE_MESSAGES][WG_CONTROL];
    struct iovec iov[WG_ASIDE_MESSAGES];
    struct mmsghdr messages[WG_ASIDE_MESSAGES];
    for (uint32_t i = 0; i < WG_ASIDE_MESSAGES; i++) {
        iov[i] = (struct iovec){message_bytes(a, i), WG_PACKET_MAX};
        messages[i] = (struct mmsghdr){.msg_hdr = {
            .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &iov[i], .msg_iovlen = 1,
            .msg_control = control[i], .msg_controllen = sizeof control[i]}};
    }
    int n = recvmmsg(fd, messages, WG_ASIDE_MESSAGES, MSG_DONTWAIT, NULL);
    a->n = a->next = a->off = 0;
    if (n <= 0)
        return 0;
    count(&u->port.calls_in, 1);
    for (; a->n < (uint32_t)n; a->n++) { /* none is longer than WG_PACKET_MAX */
        struct mmsghdr *m = &messages[a->n];
        count(&u->port.bytes_in, m->msg_len);
        a->got[a->n] = received(&m->msg_hdr, &from[a->n], m->msg_len);
    }
    return a->n;
}

/* Whether there was much of it. */
static bool receive_aside(struct wg_port_udp *u, struct wg_batch *b)
{
    struct wg_udp_aside *a = &u->aside;
    bool room = pass_on(a, b), many = false;
    for (unsigned k = 0; k < 2; k++) {
        int fd = a->fds[(k ^ u->turn) & 1];
        uint32_t n = WG_ASIDE_MESSAGES;
        while (fd >= 0 && room && n == WG_ASIDE_MESSAGES) {
            n = read_messages(u, fd);
            room = pass_on(a, b);
            many |= n == WG_ASIDE_MESSAGES;
        }
    }
    return many || !room;
}

/* A thread that did not run for a moment looks the more often afterwards. What the sink has no
 * room for waits in the socket's buffer, which is larger, and costs nothing until then. */
static void look_aside(struct wg_port_udp *u, struct wg_batch *b)
{
    struct wg_udp_aside *a = &u->aside;
    uint64_t due = a->crowded ? a->look_at : b->now;
    if (due + WG_ASIDE_OWED < b->now)
        due = b->now - WG_ASIDE_OWED;
    uint32_t share = a->beside >= BUSY ? WG_ASIDE_FEWER : WG_ASIDE_PACKETS;
    uint32_t room = b->room > WG_ASIDE_LEAVES ? b->room - WG_ASIDE_LEAVES : 0;
    uint32_t part = room < share ? room : share;
    bool worth_a_call = part >= WG_ASIDE_MESSAGES;
    a->look_at = due + (worth_a_call ? WG_ASIDE_PAUSE * part / share : 0);
    a->most = b->n + part;
    a->beside = 0;
    a->crowded = !worth_a_call || receive_aside(u, b);
    u->port.rang &= (uint8_t)~ASIDE_RANG;
    u->port.recheck_ms = a->crowded;
    for (int i = 0; i < 2; i++)
        u->port.fds[2 + i] = a->crowded ? -1 : a->fds[i];
}

int udp_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_udp *u = (struct wg_port_udp *)port;
    uint32_t before = b->n;
    if (++u->turn % LOOK_EVERY == 0)
        port->rang = UINT8_MAX;
    if (u->aside.crowded ? b->now >= u->aside.look_at : port->rang & ASIDE_RANG)
        look_aside(u, b);
    uint32_t other = b->n;
    receive_transport(u, b);
    u->aside.beside += b->n - other;
    count(&port->packets_in, b->n - before);
    return (int)(b->n - before);
}

bool udp_crowded(struct wg_port *port)
{
    bool crowded = false;
    for (int i = 0; i < 2; i++) {
        uint32_t info[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof info;
        if (port->fds[i] >= 0 && !getsockopt(port->fds[i], SOL_SOCKET, SO_MEMINFO, info, &size))
            crowded |= info[SK_MEMINFO_RMEM_ALLOC] > info[SK_MEMINFO_RCVBUF] / CROWDED_PART;
    }
    return crowded;
}
