/* The portable backend and the oracle of all others: OpenSSL EVP, one packet at a
 * time. The cipher and key are set once a context; each packet sets only the IV, which
 * saves the fetch and the key schedule. */
#include "aead.h"

#include <openssl/evp.h>

static bool openssl_supported(void) { return true; }

static void openssl_key_free(void *ctx)
{
    EVP_CIPHER_CTX_free(ctx); /* cleanses the provider's key */
}

static void *openssl_key_new(const uint8_t key[WG_KEY])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (ctx && EVP_CipherInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, NULL, 1) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static bool start(const struct wgpy_packet *job, int encrypt)
{
    uint8_t nonce[12] = {0};

    put_le64(nonce + 4, job->counter);
    return EVP_CipherInit_ex(job->context, NULL, NULL, NULL, nonce, encrypt) == 1;
}

/* Errors of EVP here are failures to allocate; no plaintext may pass for sealed. */
static void openssl_seal(struct wgpy_packet *job, size_t n)
{
    for (; n; job++, n--) {
        int len, last;

        job->ok = start(job, 1)
            && (!job->size || EVP_EncryptUpdate(job->context, job->data, &len, job->data, (int)job->size) == 1)
            && EVP_EncryptFinal_ex(job->context, job->data + job->size, &last) == 1
            && EVP_CIPHER_CTX_ctrl(job->context, EVP_CTRL_AEAD_GET_TAG, WG_TAG, job->data + job->size) == 1;
        if (!job->ok)
            memset(job->data, 0, (size_t)job->size + WG_TAG);
    }
}

static void openssl_open(struct wgpy_packet *job, size_t n)
{
    for (; n; job++, n--) {
        uint8_t tag[WG_TAG], none[WG_TAG];
        int len, last;

        memcpy(tag, job->data + job->size, WG_TAG);
        job->ok = start(job, 0)
            && (!job->size || EVP_DecryptUpdate(job->context, job->data, &len, job->data, (int)job->size) == 1)
            && EVP_CIPHER_CTX_ctrl(job->context, EVP_CTRL_AEAD_SET_TAG, WG_TAG, tag) == 1
            && EVP_DecryptFinal_ex(job->context, none, &last) == 1;
        if (!job->ok)
            memset(job->data, 0, job->size);
    }
}

const struct wg_aead aead_openssl = {
    .name = "openssl",
    .key_size = WG_KEY,
    .tag_size = WG_TAG,
    .may_refuse = true,
    .supported = openssl_supported,
    .key_new = openssl_key_new,
    .key_free = openssl_key_free,
    .seal = openssl_seal,
    .open = openssl_open,
};
