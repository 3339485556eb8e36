/* Suites of the user's own (F8): a good one passes, and each that lies is refused for its own reason,
 * whether the lie is in the table, in its known answers or in what its functions do. */
#include "one_plane.h"
#include "toy_suite.h"
#include "suite/suite.h"

static struct wgpy_suite bad;
static struct wg_suite loaded;

/* The check that finds it. */
static enum wg_suite_check check_of(const struct wgpy_suite *table)
{
    struct wg_suite_fault fault = {0};
    bool good = suite_from(&loaded, table, &fault) && suite_test(&loaded, &fault);
    CHECK(good == (fault.check == WG_SUITE_GOOD));
    CHECK(good || (*suite_fault_name(fault.check) && *suite_fault_text(fault.check)));
    return fault.check;
}

/* With one thing changed. */
#define REFUSED(why, ...) \
    do { \
        bad = toy_suite(); \
        __VA_ARGS__; \
        CHECK(check_of(&bad) == WG_SUITE_##why); \
    } while (0)

static void tables(void)
{
    char name[60], label[300];
    memset(name, 'x', sizeof name);
    memset(label, 'x', sizeof label);
    name[49] = label[256] = 0;
    CHECK(check_of(NULL) == WG_SUITE_table && check_of((const void *)((const char *)&bad + 1)) == WG_SUITE_table);
    REFUSED(abi, bad.abi = 2);
    REFUSED(table_size, bad.table_size--);
    REFUSED(name, bad.name = NULL);
    REFUSED(name, bad.name = "");
    REFUSED(name, bad.name = "wireguard");
    REFUSED(name, bad.name = "Toy");
    REFUSED(name, bad.name = name);
    REFUSED(GOOD, name[48] = 0; bad.name = name);
    REFUSED(label, bad.noise = NULL);
    REFUSED(label, bad.identifier = label);
    REFUSED(GOOD, label[255] = 0; bad.identifier = label);
    REFUSED(size, bad.public_size = 257);
    REFUSED(size, bad.private_size = 15);
    REFUSED(size, bad.hash_size = 31);
    REFUSED(size, bad.hash_block = 63);
    REFUSED(size, bad.key_size = 65);
    REFUSED(size, bad.tag_size = 33);
    REFUSED(size, bad.mac_size = 0);
    REFUSED(size, bad.cookie_nonce_size = UINT32_MAX);
    REFUSED(function, bad.dh = NULL);
    REFUSED(function, bad.cookie_open = NULL);
}

static void known_answers(void)
{
    REFUSED(vectors, bad.vector_count = 0);
    REFUSED(vectors, bad.vectors = NULL);
    REFUSED(vectors, bad.vector_count--);
    REFUSED(vector, toy_vectors[0].function = 0);
    REFUSED(vector, toy_vectors[0].function = 9);
    REFUSED(vector, toy_vectors[1].in[0].size--);
    REFUSED(vector, toy_vectors[2].in[1].size++);
    REFUSED(vector, toy_vectors[4].out.size--);
    REFUSED(vector, toy_vectors[4].out.size = 0);
    REFUSED(vector, toy_vectors[4].in[0].data = NULL);
    REFUSED(vector, toy_vectors[5].in[0].size = SIZE_MAX);
    REFUSED(vector, toy_vectors[7].in[2].size = WGPY_PACKET_MAX + 1; toy_vectors[7].out.size = WGPY_PACKET_MAX + 13);
    REFUSED(vector, toy_vectors[9].in[1].size = 24);
    for (unsigned i = 0; i < toy_made; i++)
        if (toy_vectors[i].out.size)
            REFUSED(known_answer, toy_out[i][toy_vectors[i].out.size - 1] ^= 1);
    REFUSED(known_answer, toy_vectors[3].in[1].data = toy_out[1]); /* not refused */
    REFUSED(known_answer, bad.hash_block++);
}

static int odd_public(const uint8_t *private_key, uint8_t *public_key)
{
    static uint8_t calls;
    int ret = toy_public(private_key, public_key);
    public_key[TOY_PUBLIC - 1] = calls++;
    return ret;
}
static int one_sided_dh(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
{
    static uint8_t calls;
    int ret = toy_dh(private_key, public_key, shared);
    if (memcmp(private_key, toy_in[0], TOY_PRIVATE))
        shared[9] = calls++;
    return ret;
}
static int willing_dh(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
{
    return toy_number(public_key) ? toy_dh(private_key, public_key, shared) : 0;
}
static int first_part_hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    return toy_hash(parts, count > 3 ? 3 : count, digest);
}
static int keyless_mac(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *mac)
{
    uint8_t none[TOY_HASH] = {0};
    return toy_mac(parts->size == 50 ? key : none, key_size, parts, count, mac);
}
static int no_hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    return parts->size == 300 ? -1 : toy_hash(parts, count, digest);
}
static void no_seal(struct wgpy_packet *p, size_t count)
{
    toy_seal(p, count);
    p[count - 1].ok = count == 1;
}
static void clear_seal(struct wgpy_packet *p, size_t count)
{
    for (; count; p++, count--) {
        p->ok = 1;
        if (p->size == 1420)
            memset(p->data + p->size, 0, TOY_TAG);
        else
            toy_seal(p, 1);
    }
}
static void long_seal(struct wgpy_packet *p, size_t count)
{
    toy_seal(p, count);
    p[count - 1].data[p[count - 1].size + TOY_TAG] = 0;
}
/* A batch of more than one has other nonces. */
static void other(struct wgpy_packet *p, size_t count, void (*way)(struct wgpy_packet *, size_t))
{
    for (size_t i = 0; i < count; i++)
        p[i].counter += count > 1;
    way(p, count);
    for (size_t i = 0; i < count; i++)
        p[i].counter -= count > 1;
}
static void other_seal(struct wgpy_packet *p, size_t count) { other(p, count, toy_seal); }
static void other_open(struct wgpy_packet *p, size_t count) { other(p, count, toy_open); }
static void believing_open(struct wgpy_packet *p, size_t count)
{
    toy_open(p, count);
    for (; count; p++, count--)
        p->ok = 1;
}
/* Decrypts, then looks at the tag, then leaves it there. */
static void early_open(struct wgpy_packet *p, size_t count)
{
    for (; count; p++, count--) {
        const struct toy_cipher c = {p->context, (const uint8_t *)&p->counter, TOY_KEY, 8, TOY_TAG};
        toy_open(p, 1);
        if (!p->ok)
            toy_turn(&c, p->data, p->size);
    }
}
static int deaf_open_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    int ret = toy_open_one(context, counter, additional, data, size);
    return additional.size == TOY_HASH ? 0 : ret;
}
static int deaf_cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    toy_cookie_open(key, nonce, additional, data, size);
    return 0;
}
static int shut_cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return key[0] == 1 ? -1 : toy_cookie_open(key, nonce, additional, data, size);
}
static int ill(char *why, size_t size)
{
    memset(why, 'x', size);
    return -1;
}

static void functions(void)
{
    REFUSED(keys, bad.public_key = odd_public; toy_out[1][TOY_PUBLIC - 1] = 0);
    REFUSED(dh, bad.dh = one_sided_dh);
    REFUSED(dh_refusal, bad.dh = willing_dh);
    REFUSED(hash, bad.hash = first_part_hash);
    REFUSED(hash, bad.mac = keyless_mac);
    REFUSED(failed, bad.hash = no_hash);
    REFUSED(failed, bad.seal = no_seal);
    REFUSED(clear, bad.seal = clear_seal);
    REFUSED(overrun, bad.seal = long_seal);
    REFUSED(aead, bad.seal = other_seal);
    REFUSED(seal_one, bad.seal = other_seal; bad.open = other_open);
    REFUSED(forged, bad.open = believing_open);
    REFUSED(clear, bad.open = early_open);
    REFUSED(forged, bad.open_one = deaf_open_one);
    REFUSED(forged_cookie, bad.cookie_open = deaf_cookie_open);
    REFUSED(cookie, bad.cookie_open = shut_cookie_open);
    REFUSED(self_test, bad.self_test = ill);
}

/* A node with the suite under load: MAC1, cookie and MAC2 are those that its peer computes. */
static void admission(void)
{
    const struct wg_endpoint peer = {.family = 4, .port = 7, .addr = {192, 0, 2, 1}};
    uint8_t key[TOY_HASH], message[WG_HANDSHAKE_MAX] = {WG_INITIATION}, cookie[TOY_MAC + TOY_COOKIE_TAG];
    const struct wgpy_suite *t = &loaded.table;
    REFUSED(GOOD, (void)0);
    struct wg_plane *p = plane_new(8, 64, 1, &loaded.aead, &loaded.macs);
    CHECK(p && plane_set_key(p, toy_out[1]));
    const uint32_t len = p->lengths.initiation, mac1 = len - 2 * TOY_MAC, mac2 = len - TOY_MAC;
    CHECK(len == 20 + 2 * TOY_PUBLIC + 2 * TOY_TAG + 2 * TOY_MAC && p->lengths.overhead == 16 + TOY_TAG);
    CHECK(p->lengths.response == 12 + TOY_PUBLIC + TOY_TAG + 2 * TOY_MAC);
    CHECK(p->lengths.cookie_reply == 8 + TOY_NONCE + TOY_MAC + TOY_COOKIE_TAG);
    CHECK(admission_judge(p, message, len, &peer, WG_SECOND) == WG_DROP_bad_mac1);
    toy_hash((const struct wgpy_part[]){{(const uint8_t *)"mac1----", 8}, {toy_out[1], TOY_PUBLIC}}, 2, key);
    t->mac(key, TOY_HASH, &(const struct wgpy_part){message, mac1}, 1, message + mac1);
    CHECK(admission_judge(p, message, len, &peer, WG_SECOND) == WG_DROP_COUNT);
    p->admission.load_until = 9 * WG_SECOND;
    CHECK(admission_judge(p, message, len, &peer, WG_SECOND) == WG_DROP_cookie_demanded);
    const struct wg_lane_entry *reply = lane_peek(&p->replies);
    CHECK(reply && reply->len == p->lengths.cookie_reply);
    toy_hash((const struct wgpy_part[]){{(const uint8_t *)"cookie--", 8}, {toy_out[1], TOY_PUBLIC}}, 2, key);
    memcpy(cookie, reply->bytes + 8 + TOY_NONCE, sizeof cookie);
    CHECK(!t->cookie_open(key, reply->bytes + 8, (struct wgpy_part){message + mac1, TOY_MAC}, cookie, TOY_MAC));
    t->mac(cookie, TOY_MAC, &(const struct wgpy_part){message, mac2}, 1, message + mac2);
    CHECK(admission_judge(p, message, len, &peer, WG_SECOND) == WG_DROP_COUNT && handshakes_depth(&p->handshakes) == 2);
    plane_free(p);
}

int main(void)
{
    REFUSED(GOOD, (void)0);
    tables();
    known_answers();
    functions();
    admission();
    return 0;
}
