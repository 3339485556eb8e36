/* How fast it is, the best of several short runs. */
#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BATCH = 32, RUNS = 7 };

static uint8_t data[BATCH][WGPY_PACKET_MAX + WGPY_TAG_MAX], key[WGPY_PUBLIC_MAX], public_key[WGPY_PUBLIC_MAX], out[WGPY_PUBLIC_MAX];
static struct wgpy_packet packets[BATCH];

static double nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Nanoseconds a call. */
static double best(void (*run)(void))
{
    double least = 1e18, from = nanoseconds(), each;
    long count;

    run();
    count = (long)(2e7 / (nanoseconds() - from + 1)) + 1;
    for (int i = 0; i < RUNS; i++) {
        from = nanoseconds();
        for (long j = 0; j < count; j++)
            run();
        each = (nanoseconds() - from) / (double)count;
        least = each < least ? each : least;
    }
    return least;
}

static void seal(void)
{
    suite->seal(packets, BATCH);
}

static void dh(void)
{
    suite->dh(key, public_key, out);
}

static void mac(void)
{
    suite->mac(key, suite->hash_size, &(struct wgpy_part){data[0], 8 + suite->public_size * 2}, 1, out);
}

void check_speed(void)
{
    static const uint32_t sizes[] = {64, 576, 1420, 8920, WGPY_PACKET_MAX};
    void *context = new_context(NULL);
    char name[64];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < BATCH; j++)
            packets[j] = (struct wgpy_packet){context, j, data[j], sizes[i], 0};
        snprintf(name, sizeof name, "ns to seal %u bytes", sizes[i]);
        figure(name, best(seal) / BATCH);
    }
    new_pair(key, out);
    new_pair(out, public_key);
    figure("ns for dh", best(dh));
    figure("ns for mac of an initiation", best(mac));
}
