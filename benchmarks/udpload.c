/* A paced UDP load that a single core can drive well past iperf3's packet rate.
 *
 *   udpload send ADDRESS PORT SIZE RATE SECONDS    RATE packets/s, 0: as fast as it goes
 *   udpload receive PORT SECONDS                   prints "ready", then its count
 *
 * One datagram a packet: sendmmsg without segmentation offload, as small messages of real
 * programs are. A sender that was descheduled does not catch up with a burst that no
 * queue could hold; the rate it reached is printed. The receiver ends 0.3 s after the
 * last packet, or after SECONDS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, BACKLOG = 128, BUFFER = 8 << 20, IDLE_MS = 300 };
static uint8_t bytes[BATCH][65536];
static struct mmsghdr messages[BATCH];
static struct iovec pieces[BATCH];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void prepare(size_t size)
{
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){bytes[i], size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int send_load(char **arg)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[1]))};
    double rate = atof(arg[3]), seconds = atof(arg[4]);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (inet_pton(AF_INET, arg[0], &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof to))
        return fail("connect");
    prctl(PR_SET_TIMERSLACK, 1UL);
    prepare((size_t)atoi(arg[2]));
    uint64_t sent = 0, forgiven = 0;
    double start = now(), t = start;
    for (; t < start + seconds; t = now()) {
        uint64_t due = rate > 0 ? (uint64_t)((t - start) * rate) - forgiven : sent + BATCH;
        if (due > sent + BACKLOG) {
            forgiven += due - sent - BACKLOG;
            due = sent + BACKLOG;
        }
        if (due <= sent) {
            struct timespec nap = {0, rate < 500e3 ? (long)(16e9 / (rate + 1e4)) : 1000};
            nanosleep(&nap, NULL);
            continue;
        }
        int n = sendmmsg(fd, messages, due - sent < BATCH ? (unsigned)(due - sent) : BATCH, 0);
        if (n > 0)
            sent += (uint64_t)n;
    }
    printf("%llu %.6f\n", (unsigned long long)sent, t - start);
    return 0;
}

static int receive_load(char **arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[0]))};
    double end = now() + atof(arg[1]);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER;
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        return fail("bind");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        return fail("SO_RCVBUFFORCE");
    prepare(sizeof bytes[0]);
    puts("ready");
    fflush(stdout);
    uint64_t received = 0;
    struct pollfd in = {fd, POLLIN, 0};
    while (now() < end) {
        if (poll(&in, 1, IDLE_MS) == 0) {
            if (received)
                break;
            continue;
        }
        int n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
        if (n > 0)
            received += (uint64_t)n;
    }
    printf("%llu\n", (unsigned long long)received);
    return 0;
}

int main(int count, char **arg)
{
    if (count == 7 && strcmp(arg[1], "send") == 0)
        return send_load(arg + 2);
    if (count == 4 && strcmp(arg[1], "receive") == 0)
        return receive_load(arg + 2);
    fprintf(stderr, "usage: udpload send ADDRESS PORT SIZE RATE SECONDS | receive PORT SECONDS\n");
    return 2;
}
