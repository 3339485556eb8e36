/* Internet headers: parsing, checksums, ECN. */
#ifndef WG_IP_H
#define WG_IP_H

#include "wg.h"

enum { IP_ICMP = 1, IP_TCP = 6, IP_UDP = 17, IPV6_FRAGMENT = 44, IP_ICMPV6 = 58 };

struct wg_ip {
    uint8_t version;     /* 4 or 6 */
    uint8_t proto;       /* next header; IPv6 extension headers are not walked */
    uint8_t tos;         /* the DS field, ECN in its low two bits */
    bool fragment;       /* a fragment, first or later (IPv4 MF/offset, IPv6 header 44) */
    uint32_t header_len; /* IPv4 with options; IPv6 40 */
    uint32_t total_len;  /* as the header says, header included */
    const uint8_t *src, *dst; /* 4 or 16 bytes */
};

/* Parses the IP header of `len` bytes at `p`. False unless it is IPv4 or IPv6 with a
 * whole header and header_len <= total_len; total_len may still exceed len. */
bool ip_parse(const uint8_t *p, uint32_t len, struct wg_ip *out);

/* One's-complement sum of `len` bytes added to `sum` (RFC 1071), not folded to 16
 * bits in between; chunks must start at even offsets. */
uint64_t csum_add(uint64_t sum, const uint8_t *p, size_t len);
/* The same while copying. */
uint64_t csum_copy(uint64_t sum, uint8_t *dst, const uint8_t *src, size_t len);
/* Adds one 16-bit field given in host order; its complement subtracts it. */
static inline uint64_t csum_be16(uint64_t sum, uint16_t v)
{
    uint8_t b[2];
    uint16_t word;
    put_be16(b, v);
    memcpy(&word, b, 2);
    return sum + word;
}
/* Folds to the complemented 16-bit checksum in host order, ready for put_be16. */
uint16_t csum_finish(uint64_t sum);
/* Pseudo-header sum of a TCP, UDP or ICMPv6 segment of `l4_len` bytes. */
uint64_t csum_pseudo(const struct wg_ip *ip, uint8_t proto, uint32_t l4_len);
/* Writes the IPv4 header checksum (the field's old value does not matter). */
void ip4_set_checksum(uint8_t *header, uint32_t header_len);

/* RFC 6040 normal mode. Encapsulation: the outer ECN is the inner one. */
static inline uint8_t ecn_outer(uint8_t inner_tos) { return inner_tos & 3; }
/* Decapsulation: rewrites the inner packet's ECN for the outer one received.
 * False when the mark is lost (outer CE, inner Not-ECT), the packet is as it was. The packet has
 * passed ip_parse; an IPv4 checksum is updated, not recomputed: a wrong one stays so. */
bool ecn_decapsulate(uint8_t *packet, uint8_t outer_tos);

#endif
