/* Routing loops: where the host's route to a peer's endpoint leads into the tunnel, what we send
 * comes back out of the TUN, to be sealed again. Told by the index in the message and the
 * endpoint, not by ports: another WireGuard, also on the same port, may go through the tunnel,
 * and a peer may be reached through another peer of the same interface. */
#ifndef WG_LOOP_H
#define WG_LOOP_H

#include "core/ip.h"
#include "plane.h"

enum { LOOP_UDP = 8, LOOP_MESSAGE = 8 /* type and index */ };
_Static_assert((int)LOOP_UDP < (int)WG_TAILROOM, "a packet that ends behind its IP header may be looked at");

/* A first look, at what hardly any packet is: a type of message where a UDP payload begins. */
static inline bool loop_possible(const struct wg_ip *ip, const uint8_t *packet)
{
    if (ip->proto == IP_UDP)
        return packet[ip->header_len + LOOP_UDP] - 1u < WG_TRANSPORT;
    return ip->proto == IPV6_FRAGMENT;
}

/* Is the packet a message of ours that comes for the second time to the peer it is for? `owner`
 * is whose allowed IPs have its destination; with WG_NO_PEER it goes nowhere in any case. The
 * packet is whole as its IP header says. */
bool loop_closes(struct wg_plane *, const struct wg_ip *, const uint8_t *packet, uint32_t owner, uint64_t now);

#endif
