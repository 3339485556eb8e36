/* Whether times tell of secrets, after "Dude, is my code constant time?" (Reparaz, Balasch and
 * Verbauwhede 2017): two classes of inputs, and the t of their times. They are timed in pairs, in random
 * order, since a machine that does other things is slow for a while and then fast again; a difference
 * counts only if it shows, in the same direction, in each of several runs. */
#include "harness.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 5, MOST = 40000 };

static const double SURE = 10; /* of no leak it is below 4.5; a leak grows with the root of the number */
/* What takes long is interrupted by other processes, whose time this clock does not count; to read
 * it is a system call. */
static clockid_t watch;

static double nanoseconds(void)
{
    struct timespec now;

    clock_gettime(watch, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int up(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of differences, without the fifth that is farthest from their middle: interrupts, and other
 * processes. */
static double student(double *differences, size_t count)
{
    size_t from = count / 10, to = count - from;
    double mean = 0, squares = 0;

    qsort(differences, count, sizeof *differences, up);
    for (size_t i = from; i < to; i++)
        mean += differences[i] / (double)(to - from);
    for (size_t i = from; i < to; i++)
        squares += (differences[i] - mean) * (differences[i] - mean);
    if (squares <= 0)
        return mean > 0 ? 1000 : mean < 0 ? -1000 : 0;
    return mean / sqrt(squares / (double)(to - from - 1) / (double)(to - from));
}

struct measured {
    const char *name;
    size_t count;
    void (*prepare)(bool second); /* the input of a class, always with the same work on the same bytes */
    void (*run)(void);
};

static double timed(const struct measured *m, bool second)
{
    double from;

    m->prepare(second);
    atomic_thread_fence(memory_order_seq_cst); /* what it stored is no longer on its way */
    from = nanoseconds();
    m->run();
    return nanoseconds() - from;
}

/* In pairs, so that what slows both of a pair makes no difference. */
static double once(const struct measured *m, size_t count)
{
    static double differences[MOST];
    double times[2];

    for (size_t i = 0; i < count; i++) {
        bool first = below(2) != 0;
        times[first] = timed(m, first);
        times[!first] = timed(m, !first);
        differences[i] = times[1] - times[0];
    }
    return student(differences, count);
}

static void compare(const struct measured *m)
{
    double t[REPEATS], whole = 0;
    int direction = 0;

    at = m->name;
    once(m, m->count / 8);
    for (int i = 0; i < REPEATS; i++) {
        t[i] = once(m, m->count);
        direction += t[i] > 0 ? 1 : -1;
        whole += t[i] / sqrt(REPEATS);
    }
    figure(m->name, fabs(whole));
    if (fabs(whole) > SURE && abs(direction) == REPEATS)
        fail("%s: times differ between two classes of secrets: t is %.0f, %.0f, %.0f, %.0f and %.0f in runs of %zu pairs", m->name,
             t[0], t[1], t[2], t[3], t[4], m->count);
}

/* One of two inputs, both of which are read: where a processor finds bytes makes a difference, too. */
static void either(uint8_t *to, const uint8_t *first, const uint8_t *other, size_t n, bool second)
{
    uint8_t mask = (uint8_t)-(int)second;

    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)((first[i] & ~mask) | (other[i] & mask));
}

static uint8_t keys[2][WGPY_PUBLIC_MAX], chosen[WGPY_PUBLIC_MAX], peer[WGPY_PUBLIC_MAX], out[WGPY_PUBLIC_MAX];
static uint8_t plain[256], sealed[256 + WGPY_TAG_MAX], data[256 + WGPY_TAG_MAX];
static void *context;

/* Which byte of the tag is wrong, the first or the last. */
static void wrong_tag(bool second)
{
    static uint8_t packets[2][sizeof data];

    if (zero(packets[0], 64))
        for (int i = 0; i < 2; i++) {
            memcpy(packets[i], sealed, sizeof data);
            packets[i][64 + (i ? suite->tag_size - 1 : 0)] ^= 0x55;
        }
    either(data, packets[0], packets[1], sizeof data, second);
}

static void open_packet(void)
{
    suite->open(&(struct wgpy_packet){context, 1, data, 64, 0}, 1);
}

/* A key that is always the same, or another each time. */
static void choose(bool second)
{
    fill(keys[1], sizeof keys[1]);
    either(chosen, keys[0], keys[1], sizeof chosen, second);
}

static void run_mac(void)
{
    suite->mac(chosen, suite->hash_size, &(struct wgpy_part){plain, 116}, 1, out);
}

/* A private key always the same and mostly zeros where it may be, or another each time. */
static void choose_pair(bool second)
{
    uint8_t entropy[WGPY_PUBLIC_MAX];

    do
        fill(entropy, sizeof entropy);
    while (suite->private_key(entropy, keys[1]));
    either(chosen, keys[0], keys[1], sizeof chosen, second);
}

static void run_dh(void)
{
    suite->dh(chosen, peer, out);
}

static void plaintext(bool second)
{
    static uint8_t texts[2][200]; /* the first stays zeros */

    fill(texts[1], sizeof texts[1]);
    either(data, texts[0], texts[1], sizeof texts[0], second);
}

static void seal_packet(void)
{
    suite->seal(&(struct wgpy_packet){context, 1, data, 200, 0}, 1);
}

/* As many pairs as take about a third of a second. */
static size_t as_many(void (*run)(void))
{
    double from = (watch = CLOCK_MONOTONIC, nanoseconds());
    size_t count;

    for (int i = 0; i < 8; i++)
        run();
    count = (size_t)(1.5e8 * 8 / (nanoseconds() - from + 1));
    watch = count < 5000 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    return count < 300 ? 300 : count > MOST ? MOST : count;
}

void check_timing(void)
{
    uint8_t entropy[WGPY_PUBLIC_MAX] = {0};

    context = new_context(NULL);
    fill(plain, sizeof plain);
    memcpy(sealed, plain, 64);
    one(true, context, 1, sealed, 64);
    wrong_tag(false);
    compare(&(struct measured){"open, first or last byte of the tag wrong", as_many(open_packet), wrong_tag, open_packet});
    compare(&(struct measured){"mac, one key or many", as_many(run_mac), choose, run_mac});
    compare(&(struct measured){"seal, zeros or random plaintext", as_many(seal_packet), plaintext, seal_packet});
    new_pair(keys[0], peer);
    memset(entropy + suite->entropy_size / 2, 1, 1);
    if (suite->private_key(entropy, keys[0]))
        new_pair(keys[0], out);
    choose_pair(false);
    compare(&(struct measured){"dh, one private key or many", as_many(run_dh), choose_pair, run_dh});
}
