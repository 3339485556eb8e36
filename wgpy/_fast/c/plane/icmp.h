/* Destination unreachable for packets that no peer takes (RFC 792, RFC 4443). */
#ifndef WG_ICMP_H
#define WG_ICMP_H

#include "core/wg.h"

enum {
    ICMP_MAX = 1280,      /* largest answer; IPv4 ones are at most 576 (RFC 1812, 4.3.2.3) */
    ICMP_PER_SECOND = 1000, /* icmp_msgs_per_sec and icmp_msgs_burst of Linux */
    ICMP_BURST = 50,
};

/* Writes a whole IP packet that tells the sender of `packet` that the host is
 * unreachable (IPv4 type 3 code 1, IPv6 type 1 code 3), quoting what fits. It comes
 * from `src_or_null` (4 or 16 bytes), or, as the plane knows no address of its own,
 * from the destination that was sought: the route back to the sender passes any
 * reverse-path check there, since the packet came that way. Returns its length; 0 when
 * there must be no answer (RFC 1122 3.2.2, RFC 4443 2.4 (e): to ICMP errors, to later
 * fragments, to or from multicast, broadcast, loopback or unspecified addresses), for
 * malformed packets and when `cap` is too small. `out` and `packet` do not overlap. */
uint32_t icmp_unreachable(uint8_t *out, uint32_t cap, const uint8_t *packet, uint32_t len,
                          const uint8_t *src_or_null);

/* Token bucket; all zero is a full one. */
struct icmp_bucket {
    uint64_t last, credit; /* ns */
};
/* May one more answer leave at `now`? Takes a token if so. */
bool icmp_allow(struct icmp_bucket *, uint64_t now);

#endif
