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

static bool start(const struct wg_aead_job *job, int encrypt)
{
    uint8_t nonce[12] = {0};

    put_le64(nonce + 4, job->counter);
    return EVP_CipherInit_ex(job->ctx, NULL, NULL, NULL, nonce, encrypt) == 1;
}

/* Errors of EVP here are failures to allocate; no plaintext may pass for sealed. */
static void openssl_seal(struct wg_aead_job *job, uint32_t n)
{
    for (; n; job++, n--) {
        int len, last;

        job->ok = start(job, 1)
            && (!job->len || EVP_EncryptUpdate(job->ctx, job->out, &len, job->in, (int)job->len) == 1)
            && EVP_EncryptFinal_ex(job->ctx, job->out + job->len, &last) == 1
            && EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_GET_TAG, WG_TAG, job->out + job->len) == 1;
        if (!job->ok)
            memset(job->out, 0, (size_t)job->len + WG_TAG);
    }
}

static void openssl_open(struct wg_aead_job *job, uint32_t n)
{
    for (; n; job++, n--) {
        uint8_t tag[WG_TAG], none[WG_TAG];
        int len, last;

        memcpy(tag, job->in + job->len, WG_TAG);
        job->ok = start(job, 0)
            && (!job->len || EVP_DecryptUpdate(job->ctx, job->out, &len, job->in, (int)job->len) == 1)
            && EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_SET_TAG, WG_TAG, tag) == 1
            && EVP_DecryptFinal_ex(job->ctx, none, &last) == 1;
        if (!job->ok)
            memset(job->out, 0, job->len);
    }
}

const struct wg_aead aead_openssl = {
    .name = "openssl",
    .supported = openssl_supported,
    .key_new = openssl_key_new,
    .key_free = openssl_key_free,
    .seal = openssl_seal,
    .open = openssl_open,
};
