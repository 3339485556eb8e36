/* The AEAD of cookie replies. */
#include "harness.h"

#include <string.h>

static uint8_t key[WGPY_KEY_MAX], nonce[WGPY_NONCE_MAX], additional[WGPY_MAC_MAX], plain[WGPY_MAC_MAX], sealed[WGPY_MAC_MAX + WGPY_TAG_MAX];

static int run(bool seals, uint8_t *data)
{
    at = seals ? "cookie_seal" : "cookie_open";
    return (seals ? suite->cookie_seal : suite->cookie_open)(key, nonce, (struct wgpy_part){additional, suite->mac_size}, data,
                                                             suite->mac_size);
}

static void each_bit(const char *what, uint8_t *place, size_t size)
{
    uint8_t data[sizeof sealed];

    for (size_t bit = 0; bit < 8 * size; bit++) {
        place[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memcpy(data, sealed, sizeof data);
        if (!run(false, data))
            fail("cookie_open takes another bit %zu of the %s", bit, what);
        else if (shows(data, plain, suite->mac_size))
            fail("cookie_open leaves plaintext that it refuses");
        place[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

void check_cookie(void)
{
    uint8_t data[sizeof sealed];

    fill(key, sizeof key);
    fill(nonce, sizeof nonce);
    fill(additional, sizeof additional);
    fill(plain, sizeof plain);
    memcpy(sealed, plain, suite->mac_size);
    memcpy(data, plain, suite->mac_size);
    if (run(true, sealed) || run(true, data) || memcmp(sealed, data, suite->mac_size + suite->cookie_tag_size))
        fail("cookie_seal refuses, or gives two answers");
    if (shows(sealed, plain, suite->mac_size))
        fail("cookie_seal leaves plaintext");
    if (run(false, data) || memcmp(data, plain, suite->mac_size))
        fail("cookie_open does not give back what cookie_seal was given");
    each_bit("key", key, suite->cookie_key_size);
    each_bit("nonce", nonce, suite->cookie_nonce_size);
    each_bit("additional data", additional, suite->mac_size);
    each_bit("ciphertext and tag", sealed, suite->mac_size + suite->cookie_tag_size);
}
