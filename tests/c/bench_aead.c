/* Nanoseconds a packet, each backend interleaved with OpenSSL; the least of many slices,
 * since the machine does other things too. */
#include "aead/aead.h"
#include "check.h"

#include <time.h>

enum { MOST = 64, SLOT = 1600, SLICES = 400 };

static uint8_t memory[MOST][SLOT];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double slice(const struct wg_aead *aead, void *ctx, uint32_t len, uint32_t n, bool open)
{
    struct wgpy_packet job[MOST];

    for (uint32_t i = 0; i < n; i++)
        job[i] = (struct wgpy_packet){ctx, i, memory[i], len, 0};
    if (open)
        aead->seal(job, n);
    double start = now();
    (open ? aead->open : aead->seal)(job, n);
    double took = (now() - start) / n;
    for (uint32_t i = 0; i < n; i++)
        CHECK(job[i].ok);
    return took;
}

int main(void)
{
    static const uint32_t cases[][2] = {{1420, 1}, {1420, 8}, {1420, 45}, {576, 1}, {576, 8}, {576, 45},
                                        {64, 1}, {64, 8}, {64, 45}, {1452, 45}, {96, 64}};
    static const uint8_t key[WG_KEY] = {1, 2, 3};

    for (const struct wg_aead *const *b = aead_backends; *b; b++) {
        const struct wg_aead *pair[2] = {*b, &aead_openssl};

        if (!(*b)->supported() || *b == &aead_openssl)
            continue;
        printf("%-8s bytes  n | seal     ns  openssl  ratio | open     ns  openssl  ratio\n", (*b)->name);
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            double least[2][2] = {{1e12, 1e12}, {1e12, 1e12}};
            void *ctx[2] = {pair[0]->key_new(key), pair[1]->key_new(key)};

            CHECK(ctx[0] && ctx[1]);
            for (int i = 0; i < 4 * SLICES; i++) {
                double took = slice(pair[i % 2], ctx[i % 2], cases[c][0], cases[c][1], i / 2 % 2);
                double *l = &least[i / 2 % 2][i % 2];
                *l = took < *l ? took : *l;
            }
            printf("%13u %3u", cases[c][0], cases[c][1]);
            for (int o = 0; o < 2; o++)
                printf(" | %10.0f %8.0f %6.2f", least[o][0], least[o][1], least[o][1] / least[o][0]);
            printf("\n");
            for (int i = 0; i < 2; i++)
                pair[i]->key_free(ctx[i]);
        }
    }
    return 0;
}
