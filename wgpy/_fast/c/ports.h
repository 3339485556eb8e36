/* The ports of one host: TUN, UDP, and memory for tests and benchmarks. The caller
 * owns the file descriptors and closes them after the pump has stopped. */
#ifndef WG_PORTS_H
#define WG_PORTS_H

#include <pthread.h>

#include "offload.h"
#include "port.h"

struct wg_port_tun {
    struct wg_port port;
    _Atomic unsigned merge; /* MERGE_* that the kernel takes */
    bool bare;              /* no virtio header is read or written */
    bool splitting;         /* `split` is not finished */
    struct wg_split split;
    struct wg_merge merged;
    uint8_t read[VNET_LEN + 6 + WG_PACKET_MAX + 1]; /* one read: virtio header, packet */
};
/* `fd`: a non-blocking TUN with IFF_NO_PI, and with IFF_VNET_HDR unless it is `bare`. `merge`: a
 * set of MERGE_*; none for a bare one, which takes a packet a call. */
void port_tun_init(struct wg_port_tun *, int fd, unsigned merge, bool bare);

struct wg_port_udp {
    struct wg_port port;
    unsigned turn;          /* batches; the lowest bit is the family heard first */
    _Atomic bool gso;       /* cleared for good when a device takes it and answers EIO */
    wg_counter gso_refused; /* sends repeated without GSO */
};
/* `fd4`, `fd6`: bound sockets with PKTINFO and, where wanted, TOS and GRO enabled; -1
 * where there is none. */
void port_udp_init(struct wg_port_udp *, int fd4, int fd6, bool gso);

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
    pthread_mutex_t lock;
    bool repeat, discard;
    uint32_t head, count;
    struct wg_mem_entry entry[WG_MEM_SLOTS];
};
int port_mem_init(struct wg_port_mem *, bool repeat, bool discard); /* 0 or -ENOMEM */
void port_mem_free(struct wg_port_mem *);
bool port_mem_put(struct wg_port_mem *, const uint8_t *bytes, uint32_t len, uint8_t tos,
                  const struct wg_endpoint *); /* false when full */
/* Takes the oldest; the caller gives it to port_mem_drop. */
bool port_mem_take(struct wg_port_mem *, struct wg_mem_entry *out);
void port_mem_drop(struct wg_mem_entry *); /* wipes */

#endif
