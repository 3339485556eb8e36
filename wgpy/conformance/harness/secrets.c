/* Under valgrind's memcheck: keys and plaintext count as undefined, so that each branch and each
 * address that depends on them is an error that names its place. Verdicts are public, and are said
 * to be; so are ciphertexts. */
#include "harness.h"

#include <string.h>

#if defined(MEMCHECK)
#include <valgrind/memcheck.h>

enum { SIZE = 1500 };

static uint8_t key[WGPY_PUBLIC_MAX], public_key[WGPY_PUBLIC_MAX], out[WGPY_PUBLIC_MAX], data[3][SIZE + WGPY_TAG_MAX], plain[SIZE];

static void secret(void *p, size_t size)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, size);
}

static void public(void *p, size_t size)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(p, size);
}

static void packets(void)
{
    static const uint32_t sizes[] = {0, 17, 300, 1420};
    struct wgpy_packet batch[3];
    void *context;

    fill(key, sizeof key);
    fill(plain, sizeof plain);
    secret(key, suite->key_size);
    secret(plain, sizeof plain);
    context = suite->context_new(key);
    public(&context, sizeof context);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++) {
            memcpy(data[j], plain, sizes[i]);
            batch[j] = (struct wgpy_packet){context, (uint64_t)j, data[j], sizes[i], 0};
        }
        at = "seal";
        suite->seal(batch, 3);
        public(data, sizeof data);
        data[1][sizes[i]] ^= 1;
        at = "open";
        suite->open(batch, 3);
        for (int j = 0; j < 3; j++) {
            public(&batch[j].ok, sizeof batch[j].ok);
            if (batch[j].ok != (j != 1))
                fail("open's verdict is wrong under valgrind");
        }
    }
    at = "context_free";
    suite->context_free(context);
    public(key, sizeof key);
}

static void digests(void)
{
    struct wgpy_part part = {plain, 116};

    fill(key, sizeof key);
    fill(plain, sizeof plain);
    secret(key, suite->hash_size);
    at = "mac";
    suite->mac(key, suite->hash_size, &part, 1, out);
    at = "hash";
    secret(plain, sizeof plain);
    suite->hash(&part, 1, out);
    public(key, sizeof key);
}

static void pairs(void)
{
    int ret;

    new_pair(out, public_key);
    new_pair(key, out);
    secret(key, suite->private_size);
    at = "public_key";
    ret = suite->public_key(key, out);
    public(&ret, sizeof ret);
    at = "dh";
    ret = suite->dh(key, public_key, out);
    public(&ret, sizeof ret);
    if (ret)
        fail("dh refuses under valgrind");
    public(key, sizeof key);
    public(out, sizeof out);
}

void check_secrets(void)
{
    if (!RUNNING_ON_VALGRIND)
        give_up("not under valgrind");
    packets();
    digests();
    pairs();
}
#else
void check_secrets(void)
{
    give_up("built without valgrind's header");
}
#endif
