/* Keys and DH: they are functions of their inputs, both sides find the same secret, and what is no
 * public key is refused. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

enum { PAIRS = 24, MAX = WGPY_PUBLIC_MAX };

static uint8_t private_keys[PAIRS][MAX], public_keys[PAIRS][MAX];

static int dh(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
{
    at = "dh";
    return suite->dh(private_key, public_key, shared);
}

void check_keys(void)
{
    uint8_t again[MAX], shared[2][MAX], seen[PAIRS * PAIRS][MAX];
    size_t count = 0;

    for (int i = 0; i < PAIRS; i++) {
        new_pair(private_keys[i], public_keys[i]);
        if (suite->public_key(private_keys[i], again) || memcmp(again, public_keys[i], suite->public_size))
            fail("public_key gives two answers for one key");
        for (int j = 0; j < i; j++)
            if (!memcmp(public_keys[i], public_keys[j], suite->public_size))
                fail("two private keys have one public key");
    }
    for (int i = 0; i < PAIRS; i++)
        for (int j = 0; j <= i; j++) {
            if (dh(private_keys[i], public_keys[j], shared[0]) || dh(private_keys[j], public_keys[i], shared[1])) {
                fail("dh refuses a public key of its own");
                continue;
            }
            if (memcmp(shared[0], shared[1], suite->shared_size))
                fail("dh does not commute: the two sides find different secrets");
            if (zero(shared[0], suite->shared_size))
                fail("dh gives zeros");
            memcpy(seen[count++], shared[0], suite->shared_size);
        }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (!memcmp(seen[i], seen[j], suite->shared_size)) {
                fail("two pairs of keys have one shared secret");
                return;
            }
}

/* A key that is taken though it looks odd: of low order if few secrets come out of many keys. */
static void taken(const char *what, const uint8_t *odd)
{
    uint8_t shared[PAIRS][MAX];
    int different = 0;

    for (int i = 0; i < PAIRS; i++) {
        bool old = false;
        if (dh(private_keys[i], odd, shared[i]))
            return;
        if (zero(shared[i], suite->shared_size)) {
            fail("dh takes %s and gives zeros", what);
            return;
        }
        for (int j = 0; j < i; j++)
            old |= !memcmp(shared[i], shared[j], suite->shared_size);
        different += !old;
    }
    if (different < PAIRS * 3 / 4)
        fail("dh takes %s, a point of low order: %d keys give %d secrets", what, PAIRS, different);
    else
        note("dh takes %s as a public key", what);
}

/* Bits of a public key that make no difference: then one point has two forms. A compressed point
 * has one that negates it, which x coordinates do not show. */
static void each_bit(void)
{
    uint8_t odd[MAX], usual[MAX], shared[MAX];
    unsigned same = 0, refused = 0, last = 0, bits = 8 * suite->public_size;

    if (dh(private_keys[0], public_keys[1], usual))
        fail("dh refuses a public key of its own");
    for (unsigned bit = 0; bit < bits; bit++) {
        memcpy(odd, public_keys[1], suite->public_size);
        odd[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (dh(private_keys[0], odd, shared))
            refused++;
        else if (!memcmp(shared, usual, suite->shared_size)) {
            same++;
            last = bit;
        }
    }
    if (same > 1)
        fail("%u bits of a public key make no difference: one point has several forms", same);
    else if (same)
        note("bit %u of a public key makes no difference to the secret: right only where it negates the point", last);
    figure("flipped public keys refused", (double)refused / bits);
}

void check_points(void)
{
    uint8_t odd[MAX] = {0};

    for (int i = 0; i < PAIRS; i++)
        new_pair(private_keys[i], public_keys[i]);
    if (!suite->public_key(odd, odd + 1))
        note("public_key takes a private key of zeros");
    memset(odd, 0, sizeof odd);
    taken("zeros", odd);
    odd[0] = 1;
    taken("1, the lowest byte first", odd);
    odd[0] = 0;
    odd[suite->public_size - 1] = 1;
    taken("1, the highest byte first", odd);
    memset(odd, 0xff, sizeof odd);
    taken("ones", odd);
    for (int first = 0; first < 256; first++) { /* where the first byte says the form, those of no form */
        memset(odd + 1, 0, sizeof odd - 1);
        odd[0] = (uint8_t)first;
        if (!dh(private_keys[0], odd, odd + MAX / 2) && zero(odd + MAX / 2, suite->shared_size < MAX / 2 ? suite->shared_size : MAX / 2))
            fail("dh takes %02x and zeros and gives zeros", first);
    }
    each_bit();
}
