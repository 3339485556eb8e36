/* Receiving at the UDP port, from sockets on loopback. */
#define _GNU_SOURCE
#include "check.h"
#include "ports/ports.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static int bound(struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 4 << 20;
    socklen_t len = sizeof *to;
    *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)to, len) && !getsockname(fd, (struct sockaddr *)to, &len));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    return fd;
}

/* A batch filled to its last byte stays inside WG_BATCH_BYTES: a ring that lends its memory for the
 * batch puts its tables right behind. */
static void a_batch_is_not_filled_beyond_its_end(void)
{
    /* with head- and tailroom the first three leave what the port must have for a fourth */
    enum { LARGEST = 65507, MOST = WG_BATCH_BYTES - WG_HEADROOM - WG_PACKET_MAX };
    static uint8_t payload[LARGEST];
    static struct wg_port_udp udp;
    static struct wg_batch b;
    const uint32_t each = WG_HEADROOM + round16(LARGEST) + WG_TAILROOM;
    const uint32_t sizes[] = {LARGEST, LARGEST, (MOST - 2 * each - WG_HEADROOM - WG_TAILROOM) & ~15u, LARGEST, LARGEST};
    struct sockaddr_in to;
    int in = bound(&to), out = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(out >= 0 && !port_udp_init(&udp, &(struct wg_udp_sockets){{in, -1}, {-1, -1}}, false));
    CHECK((b.bytes = malloc(WG_BATCH_BYTES)));
    uint32_t sent = 0, received = 0;
    for (; sent < 5 && sendto(out, payload, sizes[sent], MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) > 0; sent++)
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
}

/* What is no transport message is left in its socket while the sink lacks room for it, and read when
 * there is some, none lost. */
static void what_has_no_room_waits(void)
{
    enum { SENT = 150, LEAVES = WG_FULL / 2 };
    static struct wg_port_udp udp;
    static struct wg_batch b;
    const struct { uint32_t room; int read; } steps[] = {{LEAVES + 15, 0}, {0, 0}, {LEAVES + 40, 40}, {LEAVES + 20, 20}, {WG_FULL, 90}};
    struct sockaddr_in to, other;
    int in = bound(&other), aside = bound(&to), out = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(out >= 0 && !port_udp_init(&udp, &(struct wg_udp_sockets){{in, -1}, {aside, -1}}, false));
    CHECK((b.bytes = malloc(WG_BATCH_BYTES)));
    for (uint8_t i = 0; i < SENT; i++)
        CHECK(sendto(out, &i, 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
    uint8_t next = 0;
    b.now = WG_SECOND;
    for (uint32_t i = 0; i < sizeof steps / sizeof *steps; i++, b.now += WG_SECOND) {
        batch_reset(&b);
        b.room = steps[i].room;
        CHECK(udp.port.receive(&udp.port, &b) == steps[i].read);
        for (uint32_t k = 0; k < b.n; k++)
            CHECK(b.bytes[b.packet[k].off] == next++);
    }
    CHECK(next == SENT);
    port_udp_free(&udp);
    free(b.bytes);
    close(in);
    close(aside);
    close(out);
}

int main(void)
{
    a_batch_is_not_filled_beyond_its_end();
    what_has_no_room_waits();
    return 0;
}
