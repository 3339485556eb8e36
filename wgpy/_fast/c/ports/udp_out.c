/* Sending at the UDP port: GSO, one system call a run of datagrams.
 * udp(7), ip(7), Documentation/networking/segmentation-offloads.rst.
 * No lock: `gso` is atomic and only ever cleared. */
#define _GNU_SOURCE
#include "udp.h"
#include "core/pump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { SEND_WAIT_MS = 100 };

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

static void address_of(const struct wg_endpoint *e, union wg_address *a, struct msghdr *msg)
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
    union wg_address to;
    _Alignas(8) uint8_t control[WG_CONTROL] = {0};
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

int port_udp_init(struct wg_port_udp *u, const struct wg_udp_sockets *s, bool gso)
{
    struct wg_udp_aside *a = &u->aside;
    u->port.receive = udp_receive;
    u->port.crowded = udp_crowded;
    u->port.send = udp_send;
    u->port.only_reads = true;
    for (int i = 0; i < 2; i++) {
        u->port.fds[i] = s->transport[i];
        u->port.fds[2 + i] = a->fds[i] = s->aside[i];
    }
    u->port.rang = UINT8_MAX;
    u->gso = gso;
    if (a->fds[0] >= 0 || a->fds[1] >= 0)
        return (a->bytes = malloc(WG_ASIDE_BYTES)) ? 0 : -ENOMEM;
    return 0;
}

void port_udp_free(struct wg_port_udp *u) { free(u->aside.bytes); }
