/* A batch filled to its last byte by the UDP port stays inside WG_BATCH_BYTES: a ring that
 * lends its memory for the batch puts its tables right behind. Sockets on loopback. */
#define _GNU_SOURCE
#include "check.h"
#include "ports.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    /* with head- and tailroom the first three leave what the port must have for a fourth */
    enum { LARGEST = 65507, MOST = WG_BATCH_BYTES - WG_HEADROOM - WG_PACKET_MAX };
    static uint8_t payload[LARGEST];
    static struct wg_port_udp udp;
    static struct wg_batch b;
    const uint32_t each = WG_HEADROOM + round16(LARGEST) + WG_TAILROOM;
    const uint32_t sizes[] = {LARGEST, LARGEST, (MOST - 2 * each - WG_HEADROOM - WG_TAILROOM) & ~15u, LARGEST, LARGEST};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    int in = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), out = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
    CHECK(in >= 0 && out >= 0 && !bind(in, (struct sockaddr *)&to, len) && !getsockname(in, (struct sockaddr *)&to, &len));
    if (setsockopt(in, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
        setsockopt(in, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    port_udp_init(&udp, in, -1, false);
    CHECK((b.bytes = malloc(WG_BATCH_BYTES)));
    uint32_t sent = 0, received = 0;
    for (; sent < 5 && sendto(out, payload, sizes[sent], MSG_DONTWAIT, (struct sockaddr *)&to, len) > 0; sent++)
        ;
    CHECK(sent == 5);
    for (int n; batch_reset(&b), (n = udp.port.receive(&udp.port, &b)) > 0; received += (uint32_t)n) {
        CHECK(b.used <= WG_BATCH_BYTES);
        for (uint32_t i = 0; i < b.n; i++)
            CHECK(b.packet[i].len == sizes[received + i]);
    }
    CHECK(received > 0 && counted(&b.drops[WG_DROP_truncated]) == 0);
    free(b.bytes);
    close(in);
    close(out);
    return 0;
}
