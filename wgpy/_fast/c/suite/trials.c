/* What holds of any suite, with keys that are made here and used for nothing else: keys agree, what
 * was sealed opens, what was changed does not, and nothing is written beside a buffer: what each start
 * can afford. */
#include "guarded.h"
#include "suite.h"

#include <sys/random.h>

enum { TRIES = 64, PACKETS = 7, FEW = 16 }; /* FEW: bytes that are not the same by chance */
static const uint32_t lengths[PACKETS] = {0, 1, 15, 16, 64, 1420, WGPY_PACKET_MAX};

struct trial {
    const struct wgpy_suite *t;
    struct wg_suite_fault *fault;
    struct guarded private_key[2], public_key[2], shared[2], digest[2], packet[PACKETS], plain[PACKETS];
    void *context[2];
    struct wgpy_packet job[PACKETS];
};

static bool found(struct trial *r, enum wg_suite_check check, const char *detail)
{
    return suite_fault(r->fault, check, "%s", detail);
}

static bool make_keys(struct trial *r, int which)
{
    uint8_t entropy[WGPY_PUBLIC_MAX];
    int ret = -1;
    for (int i = 0; ret && i < TRIES; i++) {
        if (getrandom(entropy, r->t->entropy_size, 0) != (ssize_t)r->t->entropy_size)
            return found(r, WG_SUITE_failed, "no entropy");
        ret = r->t->private_key(entropy, r->private_key[which].data);
    }
    wipe(entropy, sizeof entropy);
    if (ret)
        return found(r, WG_SUITE_failed, "private_key");
    if (r->t->public_key(r->private_key[which].data, r->public_key[which].data))
        return found(r, WG_SUITE_failed, "public_key");
    if (!guarded_intact(&r->private_key[which]) || !guarded_intact(&r->public_key[which]))
        return found(r, WG_SUITE_overrun, "private_key or public_key");
    return true;
}

static bool keys_agree(struct trial *r)
{
    const struct wgpy_suite *t = r->t;
    uint8_t again[WGPY_PUBLIC_MAX], zeros[WGPY_PUBLIC_MAX] = {0};
    if (!make_keys(r, 0) || !make_keys(r, 1))
        return false;
    if (t->public_key(r->private_key[0].data, again) || memcmp(again, r->public_key[0].data, t->public_size) ||
        !memcmp(again, r->public_key[1].data, t->public_size))
        return found(r, WG_SUITE_keys, "");
    if (t->dh(r->private_key[0].data, r->public_key[1].data, r->shared[0].data) ||
        t->dh(r->private_key[1].data, r->public_key[0].data, r->shared[1].data) ||
        memcmp(r->shared[0].data, r->shared[1].data, t->shared_size))
        return found(r, WG_SUITE_dh, "");
    if (!t->dh(r->private_key[0].data, zeros, r->shared[1].data))
        return found(r, WG_SUITE_dh_refusal, "");
    return (guarded_intact(&r->shared[0]) && guarded_intact(&r->shared[1])) || found(r, WG_SUITE_overrun, "dh");
}

/* Of 300 bytes, whole and in three parts. */
static bool hash_parts(struct trial *r, const uint8_t *key, uint32_t key_size)
{
    static const uint8_t text[300];
    const struct wgpy_part whole = {text, sizeof text};
    const struct wgpy_part parts[] = {{text, 1}, {NULL, 0}, {text + 1, 255}, {text + 256, sizeof text - 256}};
    uint32_t size = key_size ? r->t->mac_size : r->t->hash_size;
    int ret = 0;
    for (int i = 0; !ret && i < 2; i++) {
        uint8_t *out = r->digest[i].data;
        ret = key_size ? r->t->mac(key, key_size, i ? parts : &whole, i ? 4 : 1, out) : r->t->hash(i ? parts : &whole, i ? 4 : 1, out);
    }
    if (ret)
        return found(r, WG_SUITE_failed, key_size ? "mac" : "hash");
    return !memcmp(r->digest[0].data, r->digest[1].data, size) || found(r, WG_SUITE_hash, key_size ? "mac" : "hash");
}

static bool hashes(struct trial *r)
{
    uint8_t key[WGPY_HASH_MAX] = {1}, other[WGPY_MAC_MAX];
    if (!hash_parts(r, NULL, 0) || !hash_parts(r, key, r->t->mac_size) || !hash_parts(r, key, r->t->hash_size))
        return false;
    memcpy(other, r->digest[0].data, r->t->mac_size);
    key[0] ^= 1;
    if (!hash_parts(r, key, r->t->hash_size))
        return false;
    if (!memcmp(other, r->digest[0].data, r->t->mac_size))
        return found(r, WG_SUITE_hash, "mac");
    return (guarded_intact(&r->digest[0]) && guarded_intact(&r->digest[1])) || found(r, WG_SUITE_overrun, "hash or mac");
}

static bool packets_intact(struct trial *r)
{
    for (int i = 0; i < PACKETS; i++)
        if (!guarded_intact(&r->packet[i]))
            return found(r, WG_SUITE_overrun, "seal or open");
    return true;
}

/* A batch of two keys. */
static bool seal_batch(struct trial *r)
{
    for (uint32_t i = 0; i < PACKETS; i++) {
        memcpy(r->packet[i].data, r->plain[i].data, lengths[i]);
        r->job[i] = (struct wgpy_packet){r->context[i % 2], UINT64_MAX / 3 + i, r->packet[i].data, lengths[i], 0};
    }
    r->t->seal(r->job, PACKETS);
    for (uint32_t i = 0; i < PACKETS; i++) {
        if (r->job[i].ok != 1)
            return found(r, WG_SUITE_failed, "seal");
        if (lengths[i] >= FEW && !memcmp(r->packet[i].data, r->plain[i].data, FEW))
            return found(r, WG_SUITE_clear, "seal");
    }
    return packets_intact(r);
}

static bool opens_again(struct trial *r)
{
    if (!seal_batch(r))
        return false;
    r->t->open(r->job, PACKETS);
    for (uint32_t i = 0; i < PACKETS; i++)
        if (r->job[i].ok != 1 || memcmp(r->packet[i].data, r->plain[i].data, lengths[i]))
            return found(r, WG_SUITE_aead, "");
    return packets_intact(r);
}

/* All but the last packet of a batch are changed: a bit of the tag or of the text, the counter, the key. */
static bool refuses_forgeries(struct trial *r)
{
    for (uint32_t round = 0; round < 4; round++) {
        if (!seal_batch(r))
            return false;
        for (uint32_t i = 0; i + 1 < PACKETS; i++) {
            struct wgpy_packet *job = &r->job[i];
            job->data[round == 0 ? job->size : 0] ^= round < 2 ? 0x40 : 0;
            job->counter ^= round == 2 ? UINT64_C(1) << 9 * i : 0;
            job->context = r->context[round == 3 ? (i + 1) % 2 : i % 2];
        }
        r->t->open(r->job, PACKETS);
        for (uint32_t i = 0; i + 1 < PACKETS; i++) {
            if (r->job[i].ok)
                return found(r, WG_SUITE_forged, round == 2 ? "the counter" : round == 3 ? "the key" : "a packet");
            if (lengths[i] >= FEW && !memcmp(r->packet[i].data + 1, r->plain[i].data + 1, FEW - 1))
                return found(r, WG_SUITE_clear, "open");
        }
        if (r->job[PACKETS - 1].ok != 1)
            return found(r, WG_SUITE_aead, "beside packets that were changed");
    }
    return packets_intact(r);
}

/* seal_one against the batch, and its additional data. */
static bool one_by_one(struct trial *r)
{
    enum { WITH = 5 };
    struct guarded *packet = &r->packet[WITH];
    uint8_t other[WGPY_HASH_MAX] = {1}, tag[WGPY_TAG_MAX];
    const struct wgpy_part none = {NULL, 0}, additional = {other, r->t->hash_size};
    const uint64_t counter = UINT64_MAX / 3 + WITH;
    void *context = r->context[WITH % 2];
    if (!seal_batch(r))
        return false;
    memcpy(tag, packet->data + lengths[WITH], r->t->tag_size);
    memcpy(packet->data, r->plain[WITH].data, lengths[WITH]);
    if (r->t->seal_one(context, counter, none, packet->data, lengths[WITH]) ||
        memcmp(tag, packet->data + lengths[WITH], r->t->tag_size))
        return found(r, WG_SUITE_seal_one, "");
    memcpy(packet->data, r->plain[WITH].data, lengths[WITH]);
    if (r->t->seal_one(context, counter, additional, packet->data, lengths[WITH]) ||
        r->t->open_one(context, counter, additional, packet->data, lengths[WITH]) ||
        memcmp(packet->data, r->plain[WITH].data, lengths[WITH]))
        return found(r, WG_SUITE_aead, "with additional data");
    if (r->t->seal_one(context, counter, additional, packet->data, lengths[WITH]))
        return found(r, WG_SUITE_failed, "seal_one");
    other[r->t->hash_size - 1] ^= 1;
    if (!r->t->open_one(context, counter, additional, packet->data, lengths[WITH]))
        return found(r, WG_SUITE_forged, "additional data");
    return packets_intact(r);
}

static bool cookies(struct trial *r)
{
    const struct wgpy_suite *t = r->t;
    uint8_t key[WGPY_KEY_MAX] = {1}, nonce[WGPY_NONCE_MAX] = {2}, mac1[WGPY_MAC_MAX] = {3}, cookie[WGPY_MAC_MAX] = {4};
    const struct wgpy_part additional = {mac1, t->mac_size};
    uint8_t *const changed[] = {key, nonce, mac1};
    struct guarded sealed = guarded_new(t->mac_size + t->cookie_tag_size);
    enum wg_suite_check check = WG_SUITE_GOOD;
    if (!sealed.data)
        return found(r, WG_SUITE_failed, "out of memory");
    for (uint32_t round = 0; round < 6 && !check; round++) { /* 0: as it is; then one thing is changed, or the tag, or the text */
        memcpy(sealed.data, cookie, t->mac_size);
        if (t->cookie_seal(key, nonce, additional, sealed.data, t->mac_size))
            check = WG_SUITE_failed;
        sealed.data[round == 4 ? t->mac_size : 0] ^= round > 3;
        if (round && round < 4)
            changed[round - 1][1] ^= 0x10;
        bool opened = !t->cookie_open(key, nonce, additional, sealed.data, t->mac_size);
        if (round ? opened : !opened || memcmp(sealed.data, cookie, t->mac_size))
            check = round ? WG_SUITE_forged_cookie : WG_SUITE_cookie;
    }
    if (!guarded_intact(&sealed))
        check = WG_SUITE_overrun;
    guarded_free(&sealed);
    return !check || found(r, check, check == WG_SUITE_failed || check == WG_SUITE_overrun ? "cookie_seal or cookie_open" : "");
}

static bool reserve(struct trial *r)
{
    const struct wgpy_suite *t = r->t;
    uint8_t key[WGPY_KEY_MAX] = {1};
    bool made = true;
    for (int i = 0; i < 2; i++) {
        r->private_key[i] = guarded_new(t->private_size);
        r->public_key[i] = guarded_new(t->public_size);
        r->shared[i] = guarded_new(t->shared_size);
        r->digest[i] = guarded_new(t->hash_size);
        made = made && r->private_key[i].data && r->public_key[i].data && r->shared[i].data && r->digest[i].data;
    }
    for (uint32_t i = 0; i < PACKETS; i++) {
        r->packet[i] = guarded_new(lengths[i] + t->tag_size);
        r->plain[i] = guarded_new(lengths[i]);
        made = made && r->packet[i].data && r->plain[i].data;
        for (uint32_t j = 0; made && j < lengths[i]; j++)
            r->plain[i].data[j] = (uint8_t)(i * 41 + j * 7 + (j >> 8));
    }
    for (int i = 0; made && i < 2; i++, key[0]++)
        made = (r->context[i] = t->context_new(key)) != NULL;
    return made || found(r, WG_SUITE_failed, "context_new, or out of memory");
}

static void release(struct trial *r)
{
    for (int i = 0; i < 2; i++) {
        guarded_free(&r->private_key[i]);
        guarded_free(&r->public_key[i]);
        guarded_free(&r->shared[i]);
        guarded_free(&r->digest[i]);
        if (r->context[i])
            r->t->context_free(r->context[i]);
    }
    for (int i = 0; i < PACKETS; i++) {
        guarded_free(&r->packet[i]);
        guarded_free(&r->plain[i]);
    }
}

bool suite_trials(const struct wgpy_suite *t, struct wg_suite_fault *fault)
{
    struct trial r = {.t = t, .fault = fault};
    bool good = reserve(&r) && keys_agree(&r) && hashes(&r) && opens_again(&r) && refuses_forgeries(&r) && one_by_one(&r) &&
                cookies(&r);
    release(&r);
    return good;
}
