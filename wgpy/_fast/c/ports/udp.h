/* Between the two halves of the UDP port. */
#ifndef WG_PORT_UDP_H
#define WG_PORT_UDP_H

#include "ports.h"

#include <netinet/in.h>
#include <sys/socket.h>

union wg_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

enum { WG_CONTROL = 128 }; /* bytes of ancillary data of a datagram, either way */

int udp_receive(struct wg_port *, struct wg_batch *);
bool udp_crowded(struct wg_port *);

#endif
