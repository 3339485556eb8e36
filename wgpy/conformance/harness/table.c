/* The table itself, and the answers that it brings along. */
#define _GNU_SOURCE
#include "harness.h"

#include <link.h>
#include <stdio.h>
#include <string.h>

static void within(const char *name, uint32_t value, uint32_t least, uint32_t most)
{
    if (value < least || value > most)
        fail("%s is %u, not %u to %u", name, value, least, most);
    plainly("size", "%s %u", name, value);
}

static void text(const char *name, const char *value, size_t most)
{
    size_t size = value ? strnlen(value, most + 1) : 0;

    if (!size || size > most) {
        fail("%s has no text of 1 to %zu bytes", name, most);
        return;
    }
    for (size_t i = 0; i < size; i++)
        if (value[i] < ' ' || value[i] > '~') {
            fail("%s has a byte that cannot be printed", name);
            return;
        }
    plainly("text", "%s %s", name, value);
}

static void sizes(void)
{
    const struct wgpy_suite *s = suite;

    within("entropy_size", s->entropy_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX);
    within("private_size", s->private_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX);
    within("public_size", s->public_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX);
    within("shared_size", s->shared_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX);
    within("hash_size", s->hash_size, WGPY_HASH_MIN, WGPY_HASH_MAX);
    within("hash_block", s->hash_block, s->hash_size, WGPY_BLOCK_MAX);
    within("key_size", s->key_size, WGPY_KEY_MIN, s->hash_size);
    within("tag_size", s->tag_size, WGPY_TAG_MIN, WGPY_TAG_MAX);
    within("mac_size", s->mac_size, WGPY_MAC_MIN, WGPY_MAC_MAX);
    within("cookie_key_size", s->cookie_key_size, WGPY_KEY_MIN, s->hash_size);
    within("cookie_nonce_size", s->cookie_nonce_size, WGPY_NONCE_MIN, WGPY_NONCE_MAX);
    within("cookie_tag_size", s->cookie_tag_size, WGPY_TAG_MIN, WGPY_TAG_MAX);
}

static int loaded(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (info->dlpi_name && *info->dlpi_name == '/')
        plainly("loads", "%s", info->dlpi_name);
    return 0;
}

void check_table(void)
{
    const struct wgpy_suite *s = suite;
    const struct {
        const char *name;
        bool there;
    } functions[] = {
        {"private_key", s->private_key}, {"public_key", s->public_key}, {"dh", s->dh}, {"hash", s->hash}, {"mac", s->mac},
        {"context_new", s->context_new}, {"context_free", s->context_free}, {"seal", s->seal}, {"open", s->open},
        {"seal_one", s->seal_one}, {"open_one", s->open_one}, {"cookie_seal", s->cookie_seal}, {"cookie_open", s->cookie_open},
        {"vectors", s->vectors},
    };

    if (s->abi != WGPY_SUITE_ABI || s->table_size != sizeof *s) {
        fail("ABI version %u with a table of %u bytes, not %u with %zu", s->abi, s->table_size, WGPY_SUITE_ABI, sizeof *s);
        return;
    }
    text("name", s->name, WGPY_NAME_MAX);
    text("noise", s->noise, WGPY_LABEL_MAX);
    text("identifier", s->identifier, WGPY_LABEL_MAX);
    if (s->name && (s->name[strspn(s->name, "abcdefghijklmnopqrstuvwxyz0123456789-")] || !strcmp(s->name, "wireguard")))
        fail("name is not of lower case letters, digits and '-', or is WireGuard's own");
    sizes();
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!functions[i].there)
            fail("%s is missing", functions[i].name);
    dl_iterate_phdr(loaded, NULL);
}

/* RFC 2104, as wgpy makes it of the hash. */
static int hmac(struct wgpy_part key, struct wgpy_part data, uint8_t *out)
{
    uint8_t block[WGPY_BLOCK_MAX] = {0}, inner[WGPY_HASH_MAX];
    struct wgpy_part parts[2] = {{block, suite->hash_block}, data};

    if (key.size > suite->hash_block)
        return -1;
    memcpy(block, key.data, key.size);
    for (size_t i = 0; i < suite->hash_block; i++)
        block[i] ^= 0x36;
    if (suite->hash(parts, 2, inner))
        return -1;
    for (size_t i = 0; i < suite->hash_block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    parts[1] = (struct wgpy_part){inner, suite->hash_size};
    return suite->hash(parts, 2, out);
}

static uint8_t out[WGPY_PACKET_MAX + WGPY_TAG_MAX];

static bool is(struct wgpy_part part, size_t size)
{
    return part.size == size && part.data;
}

/* Sealed, compared, opened again; -1 when it does not even fit. */
static int sealing(const struct wgpy_vector *v, bool cookie)
{
    const struct wgpy_part *plain = &v->in[cookie ? 3 : 2], additional = v->in[cookie ? 2 : 1];
    size_t tag = cookie ? suite->cookie_tag_size : suite->tag_size;
    void *context = NULL;
    bool good;

    if (plain->size > WGPY_PACKET_MAX || !is(v->in[0], cookie ? suite->cookie_key_size : suite->key_size) ||
        !is(v->out, plain->size + tag) || (cookie && !is(v->in[1], suite->cookie_nonce_size)))
        return -1;
    memcpy(out, plain->data ? plain->data : out, plain->size);
    if (cookie)
        return !suite->cookie_seal(v->in[0].data, v->in[1].data, additional, out, plain->size) && !memcmp(out, v->out.data, v->out.size) &&
               !suite->cookie_open(v->in[0].data, v->in[1].data, additional, out, plain->size) &&
               (!plain->size || !memcmp(out, plain->data, plain->size));
    context = new_context(v->in[0].data);
    good = !suite->seal_one(context, v->counter, additional, out, plain->size) && !memcmp(out, v->out.data, v->out.size) &&
           !suite->open_one(context, v->counter, additional, out, plain->size) && (!plain->size || !memcmp(out, plain->data, plain->size));
    if (!additional.size)
        good = good && one(true, context, v->counter, out, (uint32_t)plain->size) && !memcmp(out, v->out.data, v->out.size);
    suite->context_free(context);
    return good;
}

/* 1 when it is right, 0 when it is wrong, -1 when the vector does not fit the table. */
static int answer(const struct wgpy_vector *v)
{
    const struct wgpy_suite *s = suite;
    const struct wgpy_part *in = v->in;
    size_t size = 0;
    int ret = -1;

    switch (v->function) {
    case WGPY_PRIVATE_OF:
        ret = is(in[0], size = s->entropy_size) ? s->private_key(in[0].data, out) + 2 : -1, size = s->private_size;
        break;
    case WGPY_PUBLIC_OF:
        ret = is(in[0], s->private_size) ? s->public_key(in[0].data, out) + 2 : -1, size = s->public_size;
        break;
    case WGPY_DH:
        ret = is(in[0], s->private_size) && is(in[1], s->public_size) ? s->dh(in[0].data, in[1].data, out) + 2 : -1, size = s->shared_size;
        break;
    case WGPY_HASH:
        ret = s->hash(in, 1, out) + 2, size = s->hash_size;
        break;
    case WGPY_HMAC:
        ret = hmac(in[0], in[1], out) + 2, size = s->hash_size;
        break;
    case WGPY_MAC:
        ret = s->mac(in[0].data, in[0].size, in + 1, 1, out) + 2, size = s->mac_size;
        break;
    case WGPY_SEAL:
    case WGPY_COOKIE_SEAL:
        return sealing(v, v->function == WGPY_COOKIE_SEAL);
    }
    if (ret < 0 || (v->out.size && v->out.size != size))
        return -1;
    return v->out.size ? ret == 2 && !memcmp(out, v->out.data, size) : ret == 1;
}

void check_vectors(void)
{
    static const char *const names[] = {"", "private_key", "public_key", "dh", "hash", "HMAC of hash", "mac", "seal", "cookie_seal"};
    int count[sizeof names / sizeof *names] = {0}, refusals = 0, right;

    for (size_t i = 0; i < suite->vector_count; i++) {
        const struct wgpy_vector *v = &suite->vectors[i];
        if (!v->function || v->function >= sizeof names / sizeof *names) {
            fail("vector %zu is of no function", i);
            continue;
        }
        at = names[v->function];
        right = answer(v);
        if (right < 0)
            fail("vector %zu (%s) has sizes that are not those of the table", i, at);
        else if (!right)
            fail("%s does not give the answer of vector %zu, %s", at, i, v->source ? v->source : "which names no source");
        if (!v->source || !*v->source)
            fail("vector %zu (%s) names no source", i, at);
        count[v->function]++;
        refusals += v->function == WGPY_DH && !v->out.size;
    }
    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (!count[i])
            fail("no vector is of %s", names[i]);
    if (!refusals)
        note("no vector shows a public key that dh refuses");
    figure("vectors", (double)suite->vector_count);
}

void check_self_test(void)
{
    char why[256] = "it gives no reason";

    at = "self_test";
    if (!suite->self_test)
        note("it has none");
    else if (suite->self_test(why, sizeof why))
        fail("%.*s", (int)sizeof why - 1, why);
}
