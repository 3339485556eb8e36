/* OpenSSL has ChaCha20-Poly1305 but not XChaCha20's key derivation, and its keyed BLAKE2s
 * allocates for each message; those two are here. The one context, of `seal`, is guarded by the admission's lock. */
#include "blake2s.h"
#include "macs.h"

#include <openssl/evp.h>

enum { WG_MAC = WG_TAG, WG_XNONCE = 24 };

static void prepare(const struct wg_macs *macs, const uint8_t *key, size_t key_len, struct wg_mac_key *made)
{
    (void)macs;
    blake2s_key(made->word, WG_MAC, key, key_len);
}

static bool prepared(const struct wg_macs *macs, const struct wg_mac_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    (void)macs;
    blake2s_keyed(out, WG_MAC, key->word, in, len);
    return true;
}

static void labelled(const char label[8], const uint8_t public_key[32], uint8_t out[32])
{
    uint8_t both[40];
    memcpy(both, label, 8);
    memcpy(both + 8, public_key, 32);
    blake2s(out, 32, NULL, 0, both, sizeof both);
}

static bool keys(const struct wg_macs *macs, const uint8_t *public_key, struct wg_mac_key *mac1_key, uint8_t cookie_key[WG_KEY_MAX])
{
    uint8_t key[32];
    labelled("mac1----", public_key, key);
    prepare(macs, key, sizeof key, mac1_key);
    labelled("cookie--", public_key, cookie_key);
    return true;
}

static inline uint32_t left(uint32_t x, int n) { return x << n | x >> (32 - n); }

static inline void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b; *d = left(*d ^ *a, 16);
    *c += *d; *b = left(*b ^ *c, 12);
    *a += *b; *d = left(*d ^ *a, 8);
    *c += *d; *b = left(*b ^ *c, 7);
}

/* draft-irtf-cfrg-xchacha-03, section 2.2 */
static void hchacha20(const uint8_t key[32], const uint8_t nonce[16], uint8_t out[32])
{
    uint32_t x[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (int i = 0; i < 8; i++)
        x[4 + i] = get_le32(key + 4 * i);
    for (int i = 0; i < 4; i++)
        x[12 + i] = get_le32(nonce + 4 * i);
    for (int r = 0; r < 10; r++) {
        for (int i = 0; i < 4; i++)
            quarter(&x[i], &x[4 + i], &x[8 + i], &x[12 + i]);
        for (int i = 0; i < 4; i++)
            quarter(&x[i], &x[4 + (i + 1) % 4], &x[8 + (i + 2) % 4], &x[12 + (i + 3) % 4]);
    }
    for (int i = 0; i < 4; i++) {
        put_le32(out + 4 * i, x[i]);
        put_le32(out + 16 + 4 * i, x[12 + i]);
    }
    wipe(x, sizeof x);
}

static void sealer_free(void *ctx) { EVP_CIPHER_CTX_free(ctx); }

static void *sealer_new(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, NULL, NULL) != 1) {
        sealer_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static bool seal(const struct wg_macs *macs, void *ctx, const uint8_t *key, const uint8_t *nonce, const uint8_t *cookie,
                 const uint8_t *mac1, uint8_t *out)
{
    (void)macs;
    uint8_t subkey[32], rest[12] = {0};
    int len;
    hchacha20(key, nonce, subkey);
    memcpy(rest + 4, nonce + 16, 8);
    bool ok = EVP_EncryptInit_ex(ctx, NULL, NULL, subkey, rest) == 1 &&
              EVP_EncryptUpdate(ctx, NULL, &len, mac1, WG_MAC) == 1 &&
              EVP_EncryptUpdate(ctx, out, &len, cookie, WG_MAC) == 1 &&
              EVP_EncryptFinal_ex(ctx, out + WG_MAC, &len) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, WG_TAG, out + WG_MAC) == 1;
    wipe(subkey, sizeof subkey);
    return ok;
}

const struct wg_macs macs_wireguard = {
    .public_size = 32, .mac_size = WG_MAC, .key_size = 32, .nonce_size = WG_XNONCE, .cookie_tag_size = WG_TAG,
    .keys = keys, .prepare = prepare, .prepared = prepared, .sealer_new = sealer_new, .sealer_free = sealer_free, .seal = seal,
};
