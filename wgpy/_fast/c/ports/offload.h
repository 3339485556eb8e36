/* Segmentation offload on the TUN: one super-packet in, many packets out, and back.
 * linux/virtio_net.h, Documentation/networking/segmentation-offloads.rst. */
#ifndef WG_OFFLOAD_H
#define WG_OFFLOAD_H

#include <sys/uio.h>

#include "core/batch.h"

/* struct virtio_net_hdr in the host's byte order, as the TUN uses it (10 bytes). */
struct wg_vnet {
    uint8_t flags;       /* 1 NEEDS_CSUM, 2 DATA_VALID */
    uint8_t gso_type;    /* 0 none, 1 TCPv4, 4 TCPv6, 5 UDP_L4; 0x80 ECN */
    uint16_t hdr_len;    /* IP and transport headers; a hint the kernel may get wrong */
    uint16_t gso_size;   /* payload bytes of each segment */
    uint16_t csum_start, csum_offset;
};
enum {
    VNET_LEN = 10, VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2,
    VNET_GSO_NONE = 0, VNET_GSO_TCP4 = 1, VNET_GSO_TCP6 = 4, VNET_GSO_UDP_L4 = 5, VNET_GSO_ECN = 0x80,
};

/* What one read of the TUN gave, on its way into batches. */
struct wg_split {
    struct wg_vnet h;
    const uint8_t *packet; /* stays valid until finished */
    uint32_t len;
    uint32_t done;         /* payload bytes already placed; 0 at the start */
};

/* Appends segments with final headers and checksums to the batch, as many as fit, and
 * remembers where it stopped. True when nothing is left: all placed, or dropped as
 * malformed_ip or malformed_offload because header and packet contradict each other.
 * Header lengths are taken from the packet, never from hdr_len; checksums start from
 * the pseudo-header sum in the packet's checksum field, as virtio has it, so that a
 * routing header's final destination counts. IPv4 IDs and TCP sequence numbers
 * advance; PSH and FIN stay on the last segment, CWR on the first. Bytes behind the IP
 * total length are cut off. */
bool split(struct wg_split *s, struct wg_batch *b);

/* One write to the TUN: a virtio header and pieces that together are one packet. */
struct wg_merged {
    struct wg_vnet vnet;
    uint32_t first;      /* index of the packet whose headers lead */
    uint32_t packets;    /* how many packets it carries */
    uint32_t len;        /* bytes, headers included */
    uint32_t iov_start, iov_count; /* its pieces in wg_merge.iov */
};
struct wg_merge {
    uint32_t n;
    struct wg_merged out[WG_BATCH_PACKETS];
    struct iovec iov[WG_BATCH_PACKETS * 2]; /* room for the vnet header of each output */
};
enum { MERGE_TCP = 1, MERGE_UDP = 2 };

/* Merges the live packets of the batch, order within each flow kept, as strictly as
 * the kernel's GRO (net/ipv4/tcp_offload.c, udp_offload.c, inet_gro_flush of Linux
 * 6.10): same addresses, ports, TTL, DS field, flow label, DF, flags, ACK, window and
 * options, sequence contiguous, equal payloads of which the last may be shorter, valid
 * checksums, no fragments, no IP options, no IPv6 extension headers. IPv4 IDs go up by
 * one, or stay the same throughout with DF set. PSH ends an output; packets with any
 * other flag than ACK and PSH, and ACKs without data, go alone. `what` is a set of
 * MERGE_*. Outputs leave in the order of their first packet, and no packet of a flow
 * overtakes another of that flow. In each output iov[iov_start] is the vnet header
 * (VNET_LEN bytes), then headers and payloads; a packet that goes alone has an
 * all-zero vnet header: its checksum was not looked at. It rewrites headers of the
 * leading packets in the batch, nothing else. */
void merge(struct wg_batch *b, struct wg_merge *m, unsigned what);
/* Gives the leading packet of output `o` its own headers back, so that the packets of
 * that output can be written one by one where the kernel refuses the merged write. */
void merge_undo(struct wg_batch *b, const struct wg_merged *o);

#endif
