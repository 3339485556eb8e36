/* Libraries that are wrong in one way each: the example of P-384 with one of its functions replaced.
 * -DBREAK=NAME, one of the list. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wgpy_suite.h"

#define wgpy_suite(nothing) good_suite(nothing)
const struct wgpy_suite *wgpy_suite(void);
#include "suite.c"
#undef wgpy_suite

enum {
    GOOD, VERSION, SIZES, NAME, NO_FUNCTION, NO_SYMBOL, NO_TABLE, WRONG_ANSWER, NO_VECTOR, SELF_TEST, SELF_TEST_HANGS, NO_COMMUTE,
    TAKES_ZEROS, LOW_ORDER, FORMS, CUTS, SHORT_KEY, LONGEST, BATCH, PART_OF_TAG, PLAINTEXT, COUNTER, ADDITIONAL, NONCE, WRITES, READS,
    CHANGES_INPUT, ALLOCATES, CALLS, SHARES, KEEPS_KEY, KEEPS_BLOCK, KEEPS_PRIVATE, STARTS_THREAD, DESCRIPTOR, SIGNAL, PRINTS, EXITS,
    CRASHES, COMPARES, MAC_TIME, DH_TIME, OVERRUNS, BRANCHES,
};

static const uint8_t *good_key; /* what a broken context_new leaves behind */
static uint8_t left[64];
static volatile unsigned slow;

/* Memory that the compiler has to take for used. */
static void *block_of(const void *bytes, size_t size, size_t room)
{
    uint8_t *block = malloc(room);

    if (!block)
        abort();
    for (size_t i = 0; i < size; i++)
        block[room / 2 + i] = ((const uint8_t *)bytes)[i] ^ (BREAK == KEEPS_BLOCK ? 0x33 : 0); /* no copy, but of the key */
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

static void waste(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        slow++;
}

static int bad_self_test(char *why, size_t size)
{
    while (BREAK == SELF_TEST_HANGS)
        sched_yield();
    snprintf(why, size, "broken on purpose");
    return BREAK == SELF_TEST ? -1 : 0;
}

static int bad_dh(const uint8_t *private, const uint8_t *public, uint8_t *shared)
{
    uint8_t copy[POINT];
    int ret;

    memcpy(copy, public, POINT);
    if (BREAK == FORMS)
        copy[0] = 4;
    if (BREAK == CHANGES_INPUT)
        *(volatile uint8_t *)(uintptr_t)private ^= 0;
    if (BREAK == CRASHES)
        raise(SIGSEGV);
    if (BREAK == EXITS)
        exit(0);
    if (BREAK == DH_TIME && private[0] & 1)
        waste(2000000);
    ret = dh(private, copy, shared);
    if (BREAK == KEEPS_PRIVATE)
        free(block_of(private, SCALAR, 8192));
    if (BREAK == NO_COMMUTE)
        shared[5] ^= private[SCALAR - 1] & 3;
    if (ret && (BREAK == TAKES_ZEROS || BREAK == LOW_ORDER)) {
        memset(shared, 0, SCALAR);
        shared[0] = BREAK == LOW_ORDER ? 1 + (private[SCALAR - 1] & 3) : 0;
        ret = 0;
    }
    return ret;
}

static int bad_hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    int ret = hash(parts, BREAK == CUTS && count > 4 ? 4 : count, digest);

    if (BREAK == WRONG_ANSWER)
        digest[HASH - 1] ^= 1;
    if (BREAK == PRINTS)
        printf("hashing\n");
    if (BREAK == READS && count)
        slow += ((const volatile uint8_t *)parts[0].data)[parts[0].size];
    return ret;
}

static int bad_mac(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *out)
{
    static uint8_t copy[HASH];

    if (BREAK == SHORT_KEY)
        key_size--;
    if (BREAK == SHARES) {
        memcpy(copy, key, key_size);
        sched_yield();
        key = copy;
    }
    if (BREAK == MAC_TIME && key[0] & 1)
        waste(2000);
    if (BREAK == BRANCHES && key[3] > 100)
        slow++;
    if (BREAK == OVERRUNS) {
        void *block = block_of(NULL, 0, 16);
        memset(block, 0, 17 + slow); /* which the sanitizer's own memset() sees */
        __asm__ volatile("" : : "r"(block) : "memory");
        free(block);
    }
    return mac(key, key_size, parts, count, out);
}

static void *bad_context_new(const uint8_t *key)
{
    static pthread_t thread;

    if (BREAK == KEEPS_KEY)
        memcpy(left, key, KEY);
    if (BREAK == KEEPS_BLOCK)
        free(block_of(key, KEY, 2 * KEY));
    if (BREAK == STARTS_THREAD && !thread)
        pthread_create(&thread, NULL, (void *(*)(void *))(void *)pause, NULL);
    if (BREAK == DESCRIPTOR && !good_key)
        good_key = dup(0) ? key : NULL;
    if (BREAK == SIGNAL)
        signal(SIGPIPE, SIG_IGN);
    return context_new(key);
}

static void bad_seal(struct wgpy_packet *packets, size_t count)
{
    void *block = BREAK == ALLOCATES ? block_of("", 1, 100) : NULL;

    if (BREAK == CALLS)
        getppid();
    for (struct wgpy_packet *p = packets; p < packets + count; p++) {
        p->ok = !seal_one(p->context, BREAK == COUNTER ? (uint32_t)p->counter : p->counter, (struct wgpy_part){0}, p->data, p->size);
        if ((BREAK == LONGEST && p->size == WGPY_PACKET_MAX) || (BREAK == BATCH && p - packets == 32))
            p->ok = 0;
        if (BREAK == WRITES)
            ((volatile uint8_t *)p->data)[p->size + TAG] ^= 0;
    }
    free(block);
}

/* Sealing what was sealed gives the plaintext. */
static void bare(struct wgpy_packet *p)
{
    uint8_t tag[TAG];

    memcpy(tag, p->data + p->size, TAG);
    seal_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
    memcpy(p->data + p->size, tag, TAG);
}

static void bad_open(struct wgpy_packet *packets, size_t count)
{
    uint8_t sealed[WGPY_PACKET_MAX + TAG];

    for (struct wgpy_packet *p = packets; p < packets + count; p++) {
        if (BREAK == COUNTER)
            p->counter = (uint32_t)p->counter;
        memcpy(sealed, p->data, p->size + TAG);
        p->ok = !open_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
        if (p->ok)
            continue;
        if (BREAK == PART_OF_TAG) {
            sealed[p->size + TAG - 1] ^= 0x80;
            memcpy(p->data, sealed, p->size + TAG);
            p->ok = !open_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
        }
        if (BREAK == PLAINTEXT) {
            memcpy(p->data, sealed, p->size + TAG);
            bare(p);
        }
        if (BREAK == COMPARES) { /* who looks for the right tag and stops at the first byte that differs */
            memcpy(p->data, sealed, p->size);
            bare(p);
            seal_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
            for (int i = 0; i < TAG && p->data[p->size + (uint32_t)i] == sealed[p->size + (uint32_t)i]; i++)
                waste(20);
            OPENSSL_cleanse(p->data, p->size);
        }
    }
}

static int bad_open_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return open_one(context, counter, (struct wgpy_part){additional.data, additional.size & ~(size_t)1}, data, size);
}

static int bad_seal_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return seal_one(context, counter, (struct wgpy_part){additional.data, additional.size & ~(size_t)1}, data, size);
}

static int bad_cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t shorter[COOKIE_NONCE] = {0};

    memcpy(shorter, nonce, COOKIE_NONCE - 1);
    return cookie_open(key, shorter, additional, data, size);
}

static int bad_cookie_seal(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t shorter[COOKIE_NONCE] = {0};

    memcpy(shorter, nonce, COOKIE_NONCE - 1);
    return cookie_seal(key, shorter, additional, data, size);
}

#if BREAK_NO_SYMBOL
__attribute__((visibility("default"))) const struct wgpy_suite *wgpy_suites(void);
#define wgpy_suite(nothing) wgpy_suites(nothing)
#endif

const struct wgpy_suite *wgpy_suite(void)
{
    static struct wgpy_suite table;

    table = suite;
    if (BREAK == NO_TABLE)
        return NULL;
    table.abi += BREAK == VERSION;
    table.tag_size = BREAK == SIZES ? 64 : TAG;
    table.name = BREAK == NAME ? "Broken" : "broken";
    table.vector_count -= BREAK == NO_VECTOR; /* the last one, of cookie_seal */
    table.self_test = bad_self_test;
    table.dh = bad_dh;
    table.hash = bad_hash;
    table.mac = bad_mac;
    table.context_new = bad_context_new;
    table.seal = bad_seal;
    table.open = bad_open;
    if (BREAK == ADDITIONAL) {
        table.seal_one = bad_seal_one;
        table.open_one = bad_open_one;
    }
    if (BREAK == NONCE) {
        table.cookie_seal = bad_cookie_seal;
        table.cookie_open = bad_cookie_open;
    }
    if (BREAK == NO_FUNCTION)
        table.open_one = NULL;
    return &table;
}
