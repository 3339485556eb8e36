/* AEAD backends against RFC 8439, a naive model and OpenSSL. Without OpenSSL for the
 * target (-DNO_OPENSSL) the model stands in for it. AEAD_PACKETS=1000000 makes the
 * random part long. */
#include "aead/aead.h"
#include "aead_model.h"
#include "aead/poly.h"
#include "check.h"

#define lengthof(a) (sizeof(a) / sizeof *(a))

enum { KEYS = 5, BATCH = 64, BATCH_MAX = 100 };

extern const struct wg_aead aead_wide, aead_wide_ifma;
static const struct wg_aead model = AEAD_MODEL("model");
#ifdef NO_OPENSSL
const struct wg_aead aead_openssl = AEAD_MODEL("openssl");
#endif

static uint8_t keys[KEYS][WG_KEY];

static void unhex(const char *text, uint8_t *out)
{
    for (; *text; text += 2)
        CHECK(sscanf(text, "%2hhx", out++) == 1);
}

#include "aead_limits.h"

/* RFC 8439 sections 2.3.2, 2.4.2 and 2.5.2. The nonce of 2.4.2 starts with four zero
 * bytes and its first block is number 1, so its ciphertext is ours, but for the tag. */
static const char sunscreen[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                                "only one tip for the future, sunscreen would be it.";
static const char sunscreen_sealed[] =
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
    "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
    "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
    "5af90bbf74a35be6b40b8eedf2785e42874d";

static void test_model(void)
{
    uint8_t key[32], nonce[12], expected[64], got[64];

    for (uint8_t i = 0; i < 32; i++)
        key[i] = i;
    unhex("000000090000004a00000000", nonce);
    unhex("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
          "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e", expected);
    model_block(key, 1, nonce, got);
    CHECK(!memcmp(got, expected, 64));

    unhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b", key);
    unhex("a8061dc1305136c6c22b8baf0c0127a9", expected);
    model_poly(key, (const uint8_t *)"Cryptographic Forum Research Group", 34, got);
    CHECK(!memcmp(got, expected, 16));
}

static void test_sunscreen(const struct wg_aead *aead)
{
    uint8_t key[32], sealed[114 + WG_TAG], expected[114];
    void *ctx;

    for (uint8_t i = 0; i < 32; i++)
        key[i] = i;
    unhex(sunscreen_sealed, expected);
    CHECK((ctx = aead->key_new(key)));
    struct wgpy_packet job = {ctx, UINT64_C(0x4a000000), memcpy(sealed, sunscreen, 114), 114, 0};
    aead->seal(&job, 1);
    CHECK(!memcmp(sealed, expected, 114));
    aead->key_free(ctx);
}

/* A batch in exact allocations, so that a sanitizer sees every byte too far. */
struct batch {
    uint32_t n;
    struct wgpy_packet job[BATCH_MAX];
    uint8_t key[BATCH_MAX];
    uint8_t *plain[BATCH_MAX], *sealed[BATCH_MAX], *memory[BATCH_MAX], *out[BATCH_MAX];
};

static uint8_t *take(size_t n)
{
    uint8_t *p = malloc(n ? n : 1);

    CHECK(p);
    return p;
}

static void make(struct batch *b, const struct wg_aead *reference, void *const *ctx, uint32_t n,
                 uint32_t (*length)(uint32_t))
{
    b->n = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = length(i), shift = rnd(33);
        uint64_t counter = (uint64_t)rnd(UINT32_MAX) << (rnd(2) ? 32 : 0) | rnd(UINT32_MAX);

        b->key[i] = (uint8_t)(rnd(3) ? 0 : rnd(KEYS));
        b->plain[i] = take(len);
        b->sealed[i] = take(len + WG_TAG);
        b->memory[i] = take(len + WG_TAG + shift);
        b->out[i] = b->memory[i] + shift;
        for (uint32_t j = 0; j < len; j++)
            b->sealed[i][j] = b->plain[i][j] = (uint8_t)rnd(256);
        b->job[i] = (struct wgpy_packet){ctx[b->key[i]], counter, b->sealed[i], len, 0};
    }
    reference->seal(b->job, n);
}

static void drop(struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        free(b->plain[i]);
        free(b->sealed[i]);
        free(b->memory[i]);
    }
}

static void check_seal(struct batch *b, const struct wg_aead *aead, void *const *ctx)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct wgpy_packet *job = &b->job[i];

        job->context = ctx[b->key[i]];
        job->data = b->out[i];
        if (job->size)
            memcpy(b->out[i], b->plain[i], job->size);
        job->ok = 2;
    }
    aead->seal(b->job, b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        CHECK(b->job[i].ok == 1);
        CHECK(!memcmp(b->out[i], b->sealed[i], b->job[i].size + WG_TAG));
    }
}

/* Opens what the reference sealed, with a bit flipped in packets for which `spoil` says
 * so: those must be as they were. */
static void check_open(struct batch *b, const struct wg_aead *aead, bool (*spoil)(uint32_t))
{
    uint8_t forged[BATCH_MAX], *given[BATCH_MAX];

    for (uint32_t i = 0; i < b->n; i++) {
        struct wgpy_packet *job = &b->job[i];
        size_t sealed = job->size + WG_TAG;

        forged[i] = spoil(i);
        given[i] = take(sealed);
        memcpy(given[i], b->sealed[i], sealed);
        if (forged[i])
            given[i][rnd((uint32_t)sealed)] ^= (uint8_t)(1u << rnd(8));
        memcpy(b->out[i], given[i], sealed);
        job->data = b->out[i];
        job->ok = 2;
    }
    aead->open(b->job, b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t len = b->job[i].size;

        CHECK(b->job[i].ok == !forged[i]);
        if (!forged[i]) {
            CHECK(!len || !memcmp(b->out[i], b->plain[i], len));
        } else if (aead != &aead_openssl) {
            CHECK(!memcmp(b->out[i], given[i], len));
        }
        free(given[i]);
    }
}

static bool none(uint32_t i) { (void)i; return false; }
static bool some(uint32_t i) { (void)i; return !rnd(4); }
static bool all(uint32_t i) { (void)i; return true; }

static uint32_t next_length;
static uint32_t consecutive(uint32_t i) { (void)i; return next_length++; }
static uint32_t shuffled(uint32_t i) { (void)i; return rnd(4) ? rnd(200) : rnd(2100); }
static uint32_t train(uint32_t i) { (void)i; return next_length; }
static uint32_t mostly_long(uint32_t i) { return rnd(8) ? 1250 + rnd(250) : shuffled(i); }
static uint32_t jumbo(uint32_t i) { (void)i; return 8880 + rnd(60); }
static uint32_t any(uint32_t i) { (void)i; return rnd(8) ? rnd(9000) : rnd(WG_PACKET_MAX + 1); }
static uint32_t giants_then_none(uint32_t i) { return i < 2 ? WG_PACKET_MAX : 0; }
static uint32_t longest(uint32_t i) { return i ? 1420 : WG_PACKET_MAX; }

static void check_batch(const struct wg_aead *aead, const struct wg_aead *reference,
                        void *const *ours, void *const *theirs, uint32_t n, uint32_t (*length)(uint32_t))
{
    struct batch b;

    make(&b, reference, theirs, n, length);
    check_seal(&b, aead, ours);
    check_open(&b, aead, none);
    check_open(&b, aead, some);
    check_open(&b, aead, all);
    drop(&b);
}

static void check_lengths(const struct wg_aead *aead, const struct wg_aead *reference, void *const *ours,
                          void *const *theirs)
{
    const char *long_run = getenv("AEAD_PACKETS");
    long packets = long_run ? atol(long_run) : 0;

    next_length = 0;
    for (uint32_t n = 1; next_length <= 2100; n = n % BATCH + 1)
        check_batch(aead, reference, ours, theirs, n, consecutive);
    for (uint32_t n = 1; n <= BATCH; n++)
        check_batch(aead, reference, ours, theirs, n, shuffled);
    for (next_length = 0; next_length < 1600; next_length += 97)
        check_batch(aead, reference, ours, theirs, 20, train);
    for (uint32_t n = 1; n <= BATCH; n++)
        check_batch(aead, reference, ours, theirs, n, mostly_long);
    check_batch(aead, reference, ours, theirs, 9, jumbo);
    check_batch(aead, reference, ours, theirs, 12, any);
    check_batch(aead, reference, ours, theirs, 3, longest);
    check_batch(aead, reference, ours, theirs, BATCH_MAX, giants_then_none);
    for (long done = 0; done < packets;) {
        uint32_t n = 1 + rnd(BATCH);

        check_batch(aead, reference, ours, theirs, n, rnd(20) ? rnd(3) ? shuffled : mostly_long : any);
        done += n;
    }
}

static uint32_t twenty_five(uint32_t i) { (void)i; return 25; }

/* F7: each bit of the tag, each of the ciphertext, and the counter. */
static void check_bits(const struct wg_aead *aead, void *const *ctx)
{
    struct batch b;

    make(&b, aead, ctx, 2, twenty_five);
    for (uint32_t bit = 0; bit < 8 * (25 + WG_TAG); bit++) {
        for (uint32_t i = 0; i < 2; i++) {
            memcpy(b.out[i], b.sealed[i], 25 + WG_TAG);
            b.job[i].data = b.out[i];
        }
        b.out[1][bit / 8] ^= (uint8_t)(1u << bit % 8);
        aead->open(b.job, 2);
        CHECK(b.job[0].ok && !b.job[1].ok);
    }
    for (uint32_t bit = 0; bit < 64; bit++) {
        memcpy(b.out[0], b.sealed[0], 25 + WG_TAG);
        b.job[0].counter ^= UINT64_C(1) << bit;
        aead->open(b.job, 1);
        CHECK(!b.job[0].ok);
        b.job[0].counter ^= UINT64_C(1) << bit;
    }
    memcpy(b.out[0], b.sealed[0], 25 + WG_TAG);
    b.job[0].context = ctx[(b.key[0] + 1) % KEYS];
    aead->open(b.job, 1);
    CHECK(!b.job[0].ok);
    drop(&b);
}

static void test_backend(const struct wg_aead *aead, const struct wg_aead *reference)
{
    void *ours[KEYS], *theirs[KEYS];

    for (int i = 0; i < KEYS; i++)
        CHECK((ours[i] = aead->key_new(keys[i])) && (theirs[i] = reference->key_new(keys[i])));
    CHECK(!aead_self_test(aead, reference));
    test_sunscreen(aead);
    check_lengths(aead, reference, ours, theirs);
    check_bits(aead, ours);
    for (int i = 0; i < KEYS; i++) {
        aead->key_free(ours[i]);
        reference->key_free(theirs[i]);
    }
}

static void broken_seal(struct wgpy_packet *job, size_t n)
{
    model.seal(job, n);
    job[n - 1].data[0] ^= n > 3;
}
static void gullible_open(struct wgpy_packet *job, size_t n)
{
    model.open(job, n);
    job[0].ok = 1;
}

/* The self-test must be able to fail, and the choice must heed what was asked for. */
static void test_choice(void)
{
    struct wg_aead bad = model;
    const char *why = "";

    CHECK(!aead_self_test(&model, &aead_openssl));
    bad.seal = broken_seal;
    CHECK(aead_self_test(&bad, &model));
    bad = model;
    bad.open = gullible_open;
    CHECK(aead_self_test(&bad, &model));

    CHECK(aead_choose("openssl", &why) == &aead_openssl && !why);
    CHECK(!aead_choose("rot13", &why) && why);
    const struct wg_aead *best = aead_choose(NULL, &why);
    CHECK(best && best->supported() && aead_choose("auto", &why));
    CHECK(aead_measure(best, 1420, 8) > 0);
}

int main(void)
{
    for (int i = 0; i < KEYS * WG_KEY; i++)
        keys[i / WG_KEY][i % WG_KEY] = (uint8_t)rnd(256);
    test_model();
    test_poly();
    test_eight();
    test_choice();
    test_backend(&aead_openssl, &model);
    test_backend(&aead_wide, &aead_openssl);
    test_backend(&aead_wide_ifma, &aead_openssl);
    for (const struct wg_aead *const *b = aead_backends; *b != &aead_openssl; b++)
        if ((*b)->supported())
            test_backend(*b, &aead_openssl);
    return 0;
}
