/* The ports of one host: TUN, UDP, and memory for tests and benchmarks. The caller
 * owns the file descriptors and closes them after the pump has stopped. */
#ifndef WG_PORTS_H
#define WG_PORTS_H

#include "offload.h"
#include "core/port.h"
#include "core/queue.h"

struct wg_port_tun {
    struct wg_port port;
    _Atomic unsigned merge; /* MERGE_* that the kernel takes */
    bool bare;              /* no virtio header is read or written */
    bool splitting;         /* `split` is not finished */
    uint32_t overhead;      /* bytes that sealing adds to a packet */
    struct wg_split split;
    struct wg_merge merged;
    uint8_t read[VNET_LEN + 6 + WG_PACKET_MAX + 1]; /* one read: virtio header, packet */
};
/* `fd`: a non-blocking TUN with IFF_NO_PI, and with IFF_VNET_HDR unless it is `bare`. `merge`: a
 * set of MERGE_*; none for a bare one, which takes a packet a call. `overhead`: of struct wg_lengths. */
void port_tun_init(struct wg_port_tun *, int fd, unsigned merge, bool bare, uint32_t overhead);

/* What a received datagram, or a train that the kernel merged, comes with. */
struct wg_received {
    struct wg_endpoint from;
    uint8_t tos;
    uint32_t len, segment;  /* bytes; of each datagram of the train but its last */
};

/* What is no transport message comes by sockets of its own, where there are such: a flood of
 * handshakes fills their buffers, and delays or displaces no data. It is read before the data,
 * so that these cannot silence it, but when there is much of it only once a WG_ASIDE_PAUSE and
 * WG_ASIDE_PACKETS at most, so that it takes a bounded part of the thread; WG_ASIDE_FEWER when
 * data come meanwhile, whose sender has a session and a minute to renew it. */
enum {
    WG_ASIDE_MESSAGES = 16, /* of one system call */
    WG_ASIDE_PACKETS = 192, /* room for a train of data remains in the batch */
    WG_ASIDE_FEWER = 64,
    WG_ASIDE_LEAVES = WG_FULL / 2, /* of its sink's room: black's gate lets strangers' data have a part of it */
    WG_ASIDE_STRIDE = 65536 + 192, /* for any datagram; neighbours lie in different cache sets */
    WG_ASIDE_BYTES = WG_ASIDE_MESSAGES * WG_ASIDE_STRIDE,
};
#define WG_ASIDE_PAUSE (600 * WG_SECOND / 1000000)
#define WG_ASIDE_OWED (50 * WG_SECOND / 1000)
struct wg_udp_aside {
    int fds[2];             /* as `transport` */
    bool crowded;           /* more came at once than a system call takes */
    uint64_t look_at;       /* ns, while crowded */
    uint32_t most;          /* that the batch may hold for now */
    uint32_t beside;        /* transport messages since the last look */
    uint32_t n, next, off;  /* read; the first that is not in a batch yet, and its bytes that are */
    struct wg_received got[WG_ASIDE_MESSAGES];
    uint8_t *bytes;
};

struct wg_port_udp {
    struct wg_port port;
    unsigned turn;          /* batches; the lowest bit is the family heard first */
    _Atomic bool gso;       /* cleared for good when a device takes it and answers EIO */
    wg_counter gso_refused; /* sends repeated without GSO */
    struct wg_udp_aside aside;
};
/* An IPv4 and an IPv6 socket each, bound and with PKTINFO and, where wanted, TOS and GRO
 * enabled; -1 where there is none. `transport` receive everything where `aside` are none. */
struct wg_udp_sockets {
    int transport[2], aside[2];
};
int port_udp_init(struct wg_port_udp *, const struct wg_udp_sockets *, bool gso); /* 0 or -ENOMEM */
void port_udp_free(struct wg_port_udp *);

/* A bounded queue of packets. As a sink it may discard, as a source repeat. */
enum { WG_MEM_SLOTS = 1024 };
struct wg_mem_entry {
    uint32_t len;
    uint8_t tos;
    struct wg_endpoint endpoint;
    uint8_t *bytes;         /* allocated by the Python side's put, or by send */
};
struct wg_port_mem {
    struct wg_port port;
    bool repeat, discard;
    struct wg_queue queue;  /* of struct wg_mem_entry */
};
int port_mem_init(struct wg_port_mem *, bool repeat, bool discard); /* 0 or -ENOMEM */
void port_mem_free(struct wg_port_mem *);
bool port_mem_put(struct wg_port_mem *, const uint8_t *bytes, uint32_t len, uint8_t tos,
                  const struct wg_endpoint *); /* false when full */
/* Takes the oldest; the caller gives it to port_mem_drop. */
bool port_mem_take(struct wg_port_mem *, struct wg_mem_entry *out);
void port_mem_drop(struct wg_mem_entry *); /* wipes */

#endif
