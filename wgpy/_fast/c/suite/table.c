/* A library's table, looked at. It may lie wherever it likes; what can be told without running it is
 * told here. No lock: a suite does not change once it is loaded. */
#include "suite.h"

/* Copies a string of at most `most` bytes. */
static bool copy_text(char *out, const char *text, size_t most)
{
    size_t len = text ? strnlen(text, most + 1) : 0;
    if (!len || len > most)
        return false;
    memcpy(out, text, len);
    out[len] = 0;
    return true;
}

static bool take_texts(struct wg_suite *s, const struct wgpy_suite *table, struct wg_suite_fault *fault)
{
    if (!copy_text(s->name, table->name, WGPY_NAME_MAX) || !strcmp(s->name, "wireguard") ||
        s->name[strspn(s->name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        return suite_fault(fault, WG_SUITE_name, "%s", "");
    if (!copy_text(s->noise, table->noise, WGPY_LABEL_MAX))
        return suite_fault(fault, WG_SUITE_label, "noise");
    if (!copy_text(s->identifier, table->identifier, WGPY_LABEL_MAX))
        return suite_fault(fault, WG_SUITE_label, "identifier");
    s->table.name = s->name;
    s->table.noise = s->noise;
    s->table.identifier = s->identifier;
    return true;
}

static bool sizes_are_good(const struct wgpy_suite *t, struct wg_suite_fault *fault)
{
    const struct { const char *name; uint32_t is, least, most; } sizes[] = {
        {"entropy_size", t->entropy_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX},
        {"private_size", t->private_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX},
        {"public_size", t->public_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX},
        {"shared_size", t->shared_size, WGPY_PUBLIC_MIN, WGPY_PUBLIC_MAX},
        {"hash_size", t->hash_size, WGPY_HASH_MIN, WGPY_HASH_MAX},
        {"hash_block", t->hash_block, t->hash_size, WGPY_BLOCK_MAX},
        {"key_size", t->key_size, WGPY_KEY_MIN, t->hash_size},
        {"tag_size", t->tag_size, WGPY_TAG_MIN, WGPY_TAG_MAX},
        {"mac_size", t->mac_size, WGPY_MAC_MIN, WGPY_MAC_MAX},
        {"cookie_key_size", t->cookie_key_size, WGPY_KEY_MIN, t->hash_size},
        {"cookie_nonce_size", t->cookie_nonce_size, WGPY_NONCE_MIN, WGPY_NONCE_MAX},
        {"cookie_tag_size", t->cookie_tag_size, WGPY_TAG_MIN, WGPY_TAG_MAX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].is < sizes[i].least || sizes[i].is > sizes[i].most)
            return suite_fault(fault, WG_SUITE_size, "%s is %u, which is not %u to %u", sizes[i].name, sizes[i].is,
                               sizes[i].least, sizes[i].most);
    return true;
}
_Static_assert((int)WGPY_KEY_MAX == (int)WG_KEY_MAX && (int)WGPY_MAC_MAX == (int)WG_MAC_MAX &&
               (int)WGPY_HASH_MAX == (int)WG_HASH_MAX && (int)WGPY_TAG_MAX == (int)WG_TAILROOM &&
               (int)WGPY_BATCH_MAX == (int)WG_BATCH_PACKETS && (int)WGPY_PACKET_MAX == (int)WG_PACKET_MAX &&
               8 + WGPY_NONCE_MAX + WGPY_MAC_MAX + WGPY_TAG_MAX == (int)WG_COOKIE_REPLY_MAX &&
               20 + 2 * (WGPY_PUBLIC_MAX + WGPY_TAG_MAX + WGPY_MAC_MAX) <= (int)WG_HANDSHAKE_MAX &&
               (int)WG_HANDSHAKE_MAX <= (int)WG_LANE_BYTES, "what the packet path has room for");

static bool functions_are_there(const struct wgpy_suite *t, struct wg_suite_fault *fault)
{
#define NAMED(member) {#member, t->member != NULL}
    const struct { const char *name; bool there; } functions[] = {
        NAMED(private_key), NAMED(public_key), NAMED(dh), NAMED(hash), NAMED(mac), NAMED(context_new), NAMED(context_free),
        NAMED(seal), NAMED(open), NAMED(seal_one), NAMED(open_one), NAMED(cookie_seal), NAMED(cookie_open),
    };
#undef NAMED
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!functions[i].there)
            return suite_fault(fault, WG_SUITE_function, "%s", functions[i].name);
    return true;
}

static bool always(void) { return true; }

bool suite_from(struct wg_suite *s, const struct wgpy_suite *table, struct wg_suite_fault *fault)
{
    memset(s, 0, sizeof *s);
    if (!table || (uintptr_t)table % _Alignof(struct wgpy_suite))
        return suite_fault(fault, WG_SUITE_table, "%s", "");
    if (table->abi != WGPY_SUITE_ABI)
        return suite_fault(fault, WG_SUITE_abi, "%u, and not %u", table->abi, WGPY_SUITE_ABI);
    if (table->table_size != sizeof *table)
        return suite_fault(fault, WG_SUITE_table_size, "%u, and not %zu", table->table_size, sizeof *table);
    s->table = *table;
    if (!take_texts(s, table, fault) || !sizes_are_good(&s->table, fault) || !functions_are_there(&s->table, fault))
        return false;
    s->aead = (struct wg_aead){
        .name = s->name, .key_size = table->key_size, .tag_size = table->tag_size, .may_refuse = true, .supported = always,
        .key_new = table->context_new, .key_free = table->context_free, .seal = table->seal, .open = table->open,
    };
    suite_macs(s);
    return true;
}

bool suite_test(const struct wg_suite *s, struct wg_suite_fault *fault)
{
    char why[sizeof fault->detail] = "";
    if (!suite_known_answers(&s->table, fault) || !suite_trials(&s->table, fault))
        return false;
    if (!s->table.self_test || !s->table.self_test(why, sizeof why))
        return true;
    why[sizeof why - 1] = 0;
    return suite_fault(fault, WG_SUITE_self_test, "%s", why);
}
