/* Secret-independent timing: under memcheck, keys and plaintext count as undefined, so
 * that each branch or address that depends on them is an error. With the argument
 * "leak" there is such a branch, and memcheck must complain. OpenSSL is not ours to
 * check. */
#include "aead/aead.h"
#include "check.h"

#include <valgrind/memcheck.h>

#include "aead_wide.c" /* for AVX-512, which valgrind does not know */

enum { N = 15, LONGEST = 12000 };

static uint8_t text[N][LONGEST + WG_TAG];

static void secret(void *p, size_t n) { (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n); }

static void check(const struct wg_aead *aead)
{
    static const uint32_t lengths[N] = {1420, 1420, 1424, 1419, 1420, LONGEST, /* a train */
                                          0, 1, 15, 16, 64, 65, 576, 1420, 300};
    uint8_t key[2][WG_KEY] = {{1}, {2}};
    void *ctx[2];
    struct wgpy_packet job[N];

    secret(key, sizeof key);
    secret(text, sizeof text);
    for (int i = 0; i < 2; i++)
        CHECK((ctx[i] = aead->key_new(key[i])));
    for (uint32_t i = 0; i < N; i++)
        job[i] = (struct wgpy_packet){ctx[i % 2], i, text[i], lengths[i], 0};
    aead->seal(job, N);
    for (uint32_t i = 0; i < N; i++)
        text[i][0] ^= i % 4 == 3; /* some are forged */
    aead->open(job, N);
    for (uint32_t i = 0; i < N; i++)
        CHECK(job[i].ok == (i % 4 != 3));
    aead->seal(job, 1);
    aead->open(job, 1);
    CHECK(job[0].ok);
    for (int i = 0; i < 2; i++)
        aead->key_free(ctx[i]);
}

int main(int argc, char **argv)
{
    uint8_t bit = 1;

    CHECK(RUNNING_ON_VALGRIND);
    for (const struct wg_aead *const *b = aead_backends; *b != &aead_openssl; b++)
        if ((*b)->supported())
            check(*b);
    check(&aead_wide);
    check(&aead_wide_ifma);
    if (argc > 1 && !strcmp(argv[1], "leak")) {
        secret(&bit, 1);
        return bit ? 3 : 4;
    }
    return 0;
}
