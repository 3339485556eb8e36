/* HMAC and HKDF are wgpy's, whatever the hash. */
#include "suite.h"

/* Of a key that is not longer than a block, padded with zeros and turned by `by`. */
static void pad(const struct wgpy_suite *t, const uint8_t *key, uint8_t by, uint8_t *out)
{
    for (uint32_t i = 0; i < t->hash_block; i++)
        out[i] = key[i] ^ by;
}

bool suite_hmac(const struct wgpy_suite *t, struct wgpy_part key, struct wgpy_part data, uint8_t *out)
{
    uint8_t whole[WGPY_BLOCK_MAX] = {0}, padded[WGPY_BLOCK_MAX], inner[WGPY_HASH_MAX];
    bool good = true;
    if (key.size > t->hash_block)
        good = !t->hash(&key, 1, whole);
    else if (key.size)
        memcpy(whole, key.data, key.size);
    pad(t, whole, 0x36, padded);
    const struct wgpy_part first[2] = {{padded, t->hash_block}, data}, second[2] = {first[0], {inner, t->hash_size}};
    good = good && !t->hash(first, 2, inner);
    pad(t, whole, 0x5c, padded);
    good = good && !t->hash(second, 2, out);
    wipe(whole, sizeof whole);
    wipe(padded, sizeof padded);
    wipe(inner, sizeof inner);
    return good;
}

bool suite_kdf(const struct wgpy_suite *t, struct wgpy_part chain, struct wgpy_part data, uint32_t n, uint8_t *out)
{
    uint8_t secret[WGPY_HASH_MAX], message[WGPY_HASH_MAX + 1];
    const struct wgpy_part key = {secret, t->hash_size};
    struct wgpy_part last = {message, 0};
    bool good = suite_hmac(t, chain, data, secret);
    for (uint32_t i = 0; good && i < n; i++, out += t->hash_size) {
        message[last.size++] = (uint8_t)(i + 1);
        good = suite_hmac(t, key, last, out);
        memcpy(message, out, t->hash_size);
        last.size = t->hash_size;
    }
    wipe(secret, sizeof secret);
    wipe(message, sizeof message);
    return good;
}
