/* What is left of keys: in blocks when they are freed, and anywhere in the process afterwards. */
#define _GNU_SOURCE
#include "harness.h"
#include "memory.h"

#include <stdio.h>
#include <string.h>

enum { STACK = 48 << 10, KEPT = 1 << 18, SAME = 16, RUNS = 6 };

/* Secrets lie here under a mask, and in `clear` only during a call. */
struct secret {
    uint8_t masked[WGPY_PUBLIC_MAX], mask[WGPY_PUBLIC_MAX];
    size_t size;
};
static uint8_t clear[2][WGPY_PUBLIC_MAX];
static uint8_t data[2048];

static __attribute__((noinline)) void wipe(void *place, size_t size)
{
    memset(place, 0, size);
    __asm__ volatile("" : : "r"(place) : "memory");
}

/* As wgpy does after it called the library. */
static __attribute__((noinline)) void burn(void)
{
    uint8_t stack[STACK];

    wipe(stack, sizeof stack);
}

static void hide(struct secret *s, const uint8_t *value, size_t size)
{
    fill(s->mask, sizeof s->mask);
    s->size = size;
    for (size_t i = 0; i < size; i++)
        s->masked[i] = value[i] ^ s->mask[i];
}

static void show(const struct secret *s, uint8_t *out)
{
    for (size_t i = 0; i < s->size; i++)
        out[i] = s->masked[i] ^ s->mask[i];
}

/* SAME bytes of the secret from `first` on, in its order or the other way round as numbers lie. */
static bool found(const struct secret *s, const uint8_t *p, size_t first, bool reversed)
{
    for (size_t i = 0; i < SAME; i++) {
        size_t j = reversed ? first + SAME - 1 - i : first + i;
        if ((p[i] ^ s->mask[j]) != s->masked[j])
            return false;
    }
    return true;
}

static void search_in(const struct secret *s, const char *what, const uint8_t *from, const uint8_t *to, const char *where)
{
    for (size_t first = 0; first + SAME <= s->size; first += SAME)
        for (const uint8_t *p = from; p + SAME <= to; p++)
            if (found(s, p, first, false) || found(s, p, first, true)) {
                fail("%d bytes of %s are left in memory (%s)", SAME, what, where);
                return;
            }
}

static void search(const struct secret *s, const char *what)
{
    char line[512], mode[8], where[256];
    unsigned long from, to;
    FILE *maps = fopen("/proc/self/maps", "re");

    if (!maps)
        give_up("/proc is not mounted");
    while (fgets(line, sizeof line, maps)) {
        strcpy(where, "without a name");
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255[^\n]", &from, &to, mode, where) >= 3 && mode[0] == 'r' && mode[1] == 'w')
            search_in(s, what, (const uint8_t *)from, (const uint8_t *)to, where);
    }
    fclose(maps);
}

static __attribute__((noinline)) void context_life(const struct secret *key, struct freed *freed)
{
    void *context;

    freed->kept = 0;
    show(key, clear[0]);
    keep_freed(freed, true);
    at = "context_new";
    context = suite->context_new(clear[0]);
    keep_freed(freed, false);
    wipe(clear, sizeof clear);
    one(true, context, 1, data, 1420);
    one(false, context, 1, data, 1420);
    suite->seal_one(context, 2, (struct wgpy_part){data, suite->hash_size}, data + 1024, 300);
    keep_freed(freed, true);
    at = "context_free";
    suite->context_free(context);
    keep_freed(freed, false);
    memset(data, 0, sizeof data);
}

/* Two keys in turn: what is the same whenever one is used, and another with the other, is of the key. */
static void blocks(void)
{
    static const int order[RUNS] = {0, 1, 1, 0, 0, 1};
    static uint8_t kept[RUNS][KEPT];
    uint8_t value[WGPY_KEY_MAX];
    struct secret keys[2];
    struct freed freed[RUNS];
    size_t of_key = 0;

    for (int i = 0; i < 2; i++) {
        fill(value, suite->key_size);
        hide(&keys[i], value, suite->key_size);
    }
    for (int i = 0; i < RUNS; i++)
        freed[i] = (struct freed){kept[i], KEPT, 0};
    for (int i = 0; i < 4; i++)
        context_life(&keys[0], &freed[0]);
    for (int i = 0; i < RUNS; i++)
        context_life(&keys[order[i]], &freed[i]);
    for (int i = 1; i < RUNS; i++)
        if (freed[i].kept != freed[0].kept)
            give_up("blocks are freed in another order each time");
    for (size_t i = 0; i < freed[0].kept; i++)
        of_key += kept[0][i] == kept[3][i] && kept[0][i] == kept[4][i] && kept[1][i] == kept[2][i] && kept[1][i] == kept[5][i] &&
                  kept[0][i] != kept[1][i];
    if (of_key > 3)
        fail("blocks that context_new or context_free frees hold %zu bytes that depend on the key", of_key);
    figure("bytes freed with a context", (double)freed[0].kept);
}

static __attribute__((noinline)) void pair_life(const struct secret *entropy, const struct secret *peer, struct secret *private_key,
                                                struct secret *shared)
{
    uint8_t public_key[WGPY_PUBLIC_MAX];

    show(entropy, clear[0]);
    suite->private_key(clear[0], clear[1]);
    hide(private_key, clear[1], suite->private_size);
    wipe(clear[0], sizeof clear[0]);
    at = "public_key";
    suite->public_key(clear[1], public_key);
    show(peer, public_key);
    at = "dh";
    suite->dh(clear[1], public_key, clear[0]);
    hide(shared, clear[0], suite->shared_size);
    wipe(clear, sizeof clear);
}

static void everywhere(void)
{
    uint8_t value[WGPY_PUBLIC_MAX], other[WGPY_PUBLIC_MAX];
    struct secret key, entropy, peer, private_key, shared;
    struct freed nothing = {0};

    fill(value, sizeof value);
    hide(&key, value, suite->key_size);
    new_pair(value, other);
    hide(&peer, other, suite->public_size);
    do {
        fill(value, suite->entropy_size);
    } while (suite->private_key(value, other));
    hide(&entropy, value, suite->entropy_size);
    wipe(value, sizeof value);
    wipe(other, sizeof other);
    context_life(&key, &nothing);
    burn();
    search(&key, "the key after context_free");
    pair_life(&entropy, &peer, &private_key, &shared);
    burn();
    search(&private_key, "the private key after dh");
    search(&shared, "the shared secret after dh");
}

static void mac_key(void)
{
    struct wgpy_part part = {data, 100};
    struct secret key;
    uint8_t value[WGPY_HASH_MAX];

    fill(value, sizeof value);
    hide(&key, value, suite->hash_size);
    wipe(value, sizeof value);
    show(&key, clear[0]);
    at = "mac";
    suite->mac(clear[0], suite->hash_size, &part, 1, clear[1]);
    wipe(clear, sizeof clear);
    burn();
    search(&key, "the key after mac");
}

void check_wiping(void)
{
    if (!watched)
        give_up("the allocator is a sanitizer's");
    blocks();
    everywhere();
    mac_key();
}
