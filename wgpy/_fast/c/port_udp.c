/* The UDP port: GRO in, GSO out, one system call a run of datagrams.
 * udp(7), ip(7), Documentation/networking/segmentation-offloads.rst. */
#define _GNU_SOURCE
#include "ports.h"
#include "pump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { CONTROL = 128, SEND_WAIT_MS = 100, LOOK_EVERY = 16, CROWDED_PART = 16 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* --- receiving --- */

static void endpoint_from(struct wg_endpoint *e, const union address *a)
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

static void read_control(struct msghdr *msg, struct wg_endpoint *e, uint8_t *tos, uint32_t *segment)
{
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
            *tos = *(uint8_t *)CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int v;
            memcpy(&v, CMSG_DATA(c), sizeof v);
            *tos = (uint8_t)v;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int v;
            memcpy(&v, CMSG_DATA(c), sizeof v);
            *segment = v > 0 ? (uint32_t)v : 0;
        }
    }
}

/* One recvmsg straight into the batch. 1: something, 0: nothing there, -1: no room. */
static int receive_one(struct wg_port *port, struct wg_batch *b, int fd)
{
    if (b->n + WG_SEGMENTS_MAX > WG_BATCH_PACKETS ||
        b->used + WG_HEADROOM + round16(WG_PACKET_MAX) + WG_TAILROOM > WG_BATCH_BYTES)
        return -1;
    union address from;
    _Alignas(8) uint8_t control[CONTROL];
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
    uint8_t tos = 0;
    uint32_t segment = 0, len = (uint32_t)n;
    struct wg_endpoint e;
    endpoint_from(&e, &from);
    read_control(&msg, &e, &tos, &segment);
    uint16_t ep = batch_endpoint(b, &e);
    if (!segment || segment > len)
        segment = len;
    uint32_t off = 0;
    do {
        if (b->n == WG_BATCH_PACKETS) { /* a sender on this host may fill 128 segments */
            count(&b->drops[WG_DROP_truncated], (len - off + segment - 1) / segment);
            break;
        }
        struct wg_packet *p = &b->packet[b->n++];
        *p = (struct wg_packet){.off = base + off, .len = len - off < segment ? len - off : segment,
                                .peer = WG_NO_PEER, .ep = ep, .tos = tos, .live = 1};
        off += segment;
    } while (off < len);
    b->used = base + round16(len) + WG_TAILROOM;
    return 1;
}

/* The families take turns: one whose datagrams fill every batch does not silence the other.
 * An idle one is looked at every LOOK_EVERY batches. */
static int udp_receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_udp *u = (struct wg_port_udp *)port;
    uint32_t before = b->n;
    if (++u->turn % LOOK_EVERY == 0)
        port->rang = UINT8_MAX;
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
    count(&port->packets_in, b->n - before);
    return (int)(b->n - before);
}

static bool udp_crowded(struct wg_port *port)
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

/* --- sending --- */

/* A run: datagrams to one endpoint, of one size but for a shorter last one. */
struct run {
    uint16_t ep, packets;
    uint8_t tos;
    uint32_t size, bytes;
    struct iovec *iov;
};

struct plan {
    uint32_t n, iovs;
    struct run run[WG_BATCH_PACKETS];
    struct iovec iov[WG_BATCH_PACKETS];
};

static void put_control(struct msghdr *msg, uint8_t *space, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(space + msg->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    msg->msg_controllen += CMSG_SPACE(len);
}

static void address_of(const struct wg_endpoint *e, union address *a, struct msghdr *msg)
{
    memset(a, 0, sizeof *a);
    msg->msg_name = a;
    if (e->family == 4) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(e->port);
        memcpy(&a->v4.sin_addr, e->addr, 4);
        msg->msg_namelen = sizeof a->v4;
    } else {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(e->port);
        a->v6.sin6_scope_id = e->scope;
        memcpy(&a->v6.sin6_addr, e->addr, 16);
        msg->msg_namelen = sizeof a->v6;
    }
}

/* IPv6 needs the interface only for link-local sources; IPv4 leaves it to routing, so
 * that a route that moved to another interface takes effect (socket.c:send4, send6). */
static void put_source(struct msghdr *msg, uint8_t *space, const struct wg_endpoint *e)
{
    if (e->source != WG_SOURCE_KNOWN)
        return;
    if (e->family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, e->local, 4);
        put_control(msg, space, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info = {.ipi6_ifindex = e->scope ? e->ifindex : 0};
        memcpy(&info.ipi6_addr, e->local, 16);
        put_control(msg, space, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

/* `wait`: ms that the batch may still be held up by a full send buffer. */
static int send_message(int fd, struct msghdr *msg, int *wait)
{
    for (;;) {
        if (sendmsg(fd, msg, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EAGAIN && *wait > 0) {
            struct pollfd full = {.fd = fd, .events = POLLOUT};
            uint64_t began = pump_clock();
            poll(&full, 1, *wait);
            *wait -= (int)((pump_clock() - began) / 1000000) + 1;
        } else if (errno != EINTR) {
            return errno;
        }
    }
}

/* Sends `n` datagrams of `iov`, as one GSO send when n > 1. */
static int send_iov(int fd, struct wg_endpoint *e, uint8_t tos, uint32_t size, struct iovec *iov, uint32_t n,
                    int *wait)
{
    union address to;
    _Alignas(8) uint8_t control[CONTROL] = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n, .msg_control = control};
    address_of(e, &to, &msg);
    put_source(&msg, control, e);
    if (n > 1) {
        uint16_t segment = (uint16_t)size;
        put_control(&msg, control, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    if (tos) {
        int v = tos;
        put_control(&msg, control, e->family == 4 ? IPPROTO_IP : IPPROTO_IPV6,
                    e->family == 4 ? IP_TOS : IPV6_TCLASS, &v, sizeof v);
    }
    if (!msg.msg_controllen)
        msg.msg_control = NULL;
    return send_message(fd, &msg, wait);
}

static bool source_refused(int error)
{
    return error == EINVAL || error == ENETUNREACH || error == EADDRNOTAVAIL || error == EHOSTUNREACH ||
           error == ENODEV;
}

/* A removed source address gives ENETUNREACH or EINVAL: send once more without it, and
 * let the stage forget it (wireguard-go#61). ECONNREFUSED is an earlier datagram's ICMP. */
static int send_patiently(int fd, struct wg_endpoint *e, uint8_t tos, uint32_t size, struct iovec *iov,
                          uint32_t n, int *wait)
{
    int error = send_iov(fd, e, tos, size, iov, n, wait);
    if (source_refused(error) && e->source == WG_SOURCE_KNOWN) {
        e->source = WG_SOURCE_NONE;
        int again = send_iov(fd, e, tos, size, iov, n, wait);
        e->source = again ? WG_SOURCE_KNOWN : WG_SOURCE_STALE;
        return again ? error : 0;
    }
    if (error == ECONNREFUSED)
        error = send_iov(fd, e, tos, size, iov, n, wait);
    return error;
}

static void send_run(struct wg_port_udp *u, struct wg_batch *b, struct run *r, int *wait)
{
    struct wg_endpoint *e = &b->endpoint[r->ep];
    int fd = u->port.fds[e->family == 4 ? 0 : 1];
    if (fd < 0) {
        count(&b->drops[WG_DROP_udp_send], r->packets);
        return;
    }
    count(&u->port.calls_out, 1);
    int error = send_patiently(fd, e, r->tos, r->size, r->iov, r->packets, wait);
    uint32_t lost = error ? r->packets : 0;
    if (error && r->packets > 1 && (error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP)) {
        /* EIO: the device advertises GSO and cannot do it; never again. Otherwise the
         * segment exceeds the path's MTU, and single datagrams may be fragmented. */
        if (error == EIO)
            atomic_store(&u->gso, false);
        count(&u->gso_refused, 1);
        lost = 0;
        for (uint32_t i = 0; i < r->packets; i++)
            lost += send_patiently(fd, e, r->tos, 0, &r->iov[i], 1, wait) != 0;
    }
    count(&b->drops[WG_DROP_udp_send], lost);
    count(&u->port.packets_out, r->packets - lost);
    if (!lost)
        count(&u->port.bytes_out, r->bytes);
}

/* Gathers the packets of one endpoint into runs, order kept. */
static void plan_endpoint(struct plan *plan, struct wg_batch *b, uint16_t ep, const uint16_t *next,
                          uint16_t first, bool gso)
{
    struct run *r = NULL;
    bool closed = true;
    for (uint16_t i = first; i != UINT16_MAX; i = next[i]) {
        struct wg_packet *p = &b->packet[i];
        bool fits = !closed && gso && r->tos == p->tos && p->len <= r->size &&
                    r->packets < WG_SEGMENTS_MAX && r->bytes + p->len <= WG_DATAGRAM_MAX;
        if (!fits) {
            r = &plan->run[plan->n++];
            *r = (struct run){.ep = ep, .tos = p->tos, .size = p->len, .iov = &plan->iov[plan->iovs]};
        }
        plan->iov[plan->iovs++] = (struct iovec){b->bytes + p->off, p->len};
        r->packets++;
        r->bytes += p->len;
        closed = p->len < r->size;
    }
}

static void udp_send(struct wg_port *port, struct wg_batch *b)
{
    struct wg_port_udp *u = (struct wg_port_udp *)port;
    struct plan plan;
    uint16_t first[WG_BATCH_PACKETS], last[WG_BATCH_PACKETS], next[WG_BATCH_PACKETS];
    plan.n = plan.iovs = 0;
    memset(first, 0xff, sizeof first);
    for (uint16_t i = 0; i < b->n; i++) {
        struct wg_packet *p = &b->packet[i];
        next[i] = UINT16_MAX;
        if (!p->live)
            continue;
        if (p->len > WG_DATAGRAM_MAX) {
            batch_drop(b, p, WG_DROP_too_big);
            continue;
        }
        if (p->ep >= b->endpoints) {
            batch_drop(b, p, WG_DROP_no_endpoint);
            continue;
        }
        if (first[p->ep] == UINT16_MAX)
            first[p->ep] = i;
        else
            next[last[p->ep]] = i;
        last[p->ep] = i;
    }
    bool gso = atomic_load_explicit(&u->gso, memory_order_relaxed);
    for (uint16_t ep = 0; ep < b->endpoints; ep++)
        if (first[ep] != UINT16_MAX)
            plan_endpoint(&plan, b, ep, next, first[ep], gso);
    int wait = SEND_WAIT_MS;
    for (uint32_t i = 0; i < plan.n; i++)
        send_run(u, b, &plan.run[i], &wait);
}

void port_udp_init(struct wg_port_udp *u, int fd4, int fd6, bool gso)
{
    u->port.receive = udp_receive;
    u->port.crowded = udp_crowded;
    u->port.send = udp_send;
    u->port.only_reads = true;
    u->port.fds[0] = fd4;
    u->port.fds[1] = fd6;
    u->port.rang = UINT8_MAX;
    u->gso = gso;
}
