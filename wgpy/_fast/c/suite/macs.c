/* MACs and cookie replies by the functions of a suite's table, which need no context. */
#include "suite.h"

static const struct wgpy_suite *table_of(const struct wg_macs *macs)
{
    return &((const struct wg_suite *)((const uint8_t *)macs - offsetof(struct wg_suite, macs)))->table;
}

static void prepare(const struct wg_macs *macs, const uint8_t *key, size_t key_len, struct wg_mac_key *made)
{
    (void)macs;
    made->size = (uint32_t)key_len;
    memcpy(made->byte, key, key_len);
}

static bool prepared(const struct wg_macs *macs, const struct wg_mac_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    const struct wgpy_part part = {in, len};
    return !table_of(macs)->mac(key->byte, key->size, &part, 1, out);
}

static bool labelled(const struct wgpy_suite *table, const char label[8], const uint8_t *public_key, uint8_t *out)
{
    const struct wgpy_part parts[2] = {{(const uint8_t *)label, 8}, {public_key, table->public_size}};
    return !table->hash(parts, 2, out);
}

static bool keys(const struct wg_macs *macs, const uint8_t *public_key, struct wg_mac_key *mac1_key, uint8_t cookie_key[WG_KEY_MAX])
{
    mac1_key->size = macs->key_size;
    return labelled(table_of(macs), "mac1----", public_key, mac1_key->byte) &&
           labelled(table_of(macs), "cookie--", public_key, cookie_key);
}

static void *sealer_new(void)
{
    static char none;
    return &none;
}
static void sealer_free(void *sealer) { (void)sealer; }

static bool seal(const struct wg_macs *macs, void *sealer, const uint8_t *key, const uint8_t *nonce, const uint8_t *cookie,
                 const uint8_t *mac1, uint8_t *out)
{
    const struct wgpy_part additional = {mac1, macs->mac_size};
    (void)sealer;
    memcpy(out, cookie, macs->mac_size);
    return !table_of(macs)->cookie_seal(key, nonce, additional, out, macs->mac_size);
}

void suite_macs(struct wg_suite *s)
{
    const struct wgpy_suite *t = &s->table;
    s->macs = (struct wg_macs){
        .public_size = t->public_size, .mac_size = t->mac_size, .key_size = t->hash_size, .nonce_size = t->cookie_nonce_size,
        .cookie_tag_size = t->cookie_tag_size, .keys = keys, .prepare = prepare, .prepared = prepared,
        .sealer_new = sealer_new, .sealer_free = sealer_free, .seal = seal,
    };
}
