/* Threads call it at once, each with contexts of its own, and find what one thread alone found. */
#include "harness.h"

#include <pthread.h>
#include <string.h>

enum { THREADS = 6, PIECES = 16, SIZE = 700, ROUNDS = 60 };

/* Input and the right answers. */
static uint8_t keys[PIECES][WGPY_KEY_MAX], plain[SIZE], sealed[PIECES][SIZE + WGPY_TAG_MAX], digests[PIECES][WGPY_HASH_MAX],
    macs[PIECES][WGPY_MAC_MAX], private_keys[PIECES][WGPY_PUBLIC_MAX], public_keys[PIECES][WGPY_PUBLIC_MAX],
    secrets[PIECES][WGPY_PUBLIC_MAX];
static _Atomic int wrong_seal, wrong_open, wrong_hash, wrong_mac, wrong_dh;
static pthread_barrier_t start;

static void answers(void)
{
    for (int i = 0; i < PIECES; i++) {
        struct wgpy_part part = {plain, (size_t)(SIZE - i)};
        void *context;
        fill(keys[i], sizeof keys[i]);
        context = new_context(keys[i]);
        memcpy(sealed[i], plain, SIZE);
        one(true, context, (uint64_t)i, sealed[i], SIZE);
        suite->context_free(context);
        suite->hash(&part, 1, digests[i]);
        suite->mac(keys[i], suite->mac_size, &part, 1, macs[i]);
        new_pair(private_keys[i], public_keys[i]);
        if (suite->dh(private_keys[i], public_keys[0], secrets[i]))
            fail("dh refuses a public key of its own");
    }
}

static void piece(int i)
{
    uint8_t data[SIZE + WGPY_TAG_MAX], out[WGPY_PUBLIC_MAX];
    struct wgpy_part part = {plain, (size_t)(SIZE - i)};
    void *context = suite->context_new(keys[i]);
    struct wgpy_packet packet = {context, (uint64_t)i, data, SIZE, 0};

    memcpy(data, plain, SIZE);
    suite->seal(&packet, 1);
    wrong_seal += packet.ok != 1 || memcmp(data, sealed[i], SIZE + suite->tag_size);
    memcpy(data, sealed[i], SIZE + suite->tag_size);
    suite->open(&packet, 1);
    wrong_open += packet.ok != 1 || memcmp(data, plain, SIZE);
    suite->context_free(context);
    wrong_hash += suite->hash(&part, 1, out) || memcmp(out, digests[i], suite->hash_size);
    wrong_mac += suite->mac(keys[i], suite->mac_size, &part, 1, out) || memcmp(out, macs[i], suite->mac_size);
}

static void *run(void *number)
{
    uint8_t out[WGPY_PUBLIC_MAX];
    int own = (int)(intptr_t)number;

    pthread_barrier_wait(&start);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PIECES; i++)
            piece((i * (own | 1) + own) % PIECES);
        int i = (round + own) % PIECES;
        wrong_dh += suite->dh(private_keys[i], public_keys[0], out) || memcmp(out, secrets[i], suite->shared_size);
    }
    return NULL;
}

void check_threads(void)
{
    pthread_t threads[THREADS];

    fill(plain, sizeof plain);
    answers();
    at = "several threads";
    pthread_barrier_init(&start, NULL, THREADS);
    for (intptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run, (void *)i))
            give_up("threads cannot be started");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (wrong_seal + wrong_open)
        fail("%d packets are sealed and %d opened otherwise while other threads do the same", wrong_seal, wrong_open);
    if (wrong_hash + wrong_mac)
        fail("%d hashes and %d MACs are others while other threads do the same", wrong_hash, wrong_mac);
    if (wrong_dh)
        fail("%d shared secrets are others while other threads do the same", wrong_dh);
}
