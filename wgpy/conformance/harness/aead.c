/* The AEAD of packets: every length, in batches of all sizes, in place, at every alignment, for
 * several keys at once; and that each way to call it gives the same. */
#include "harness.h"

#include <string.h>

enum { KEYS = 3, PER_KEY = 2, STRIDE = WGPY_PACKET_MAX + WGPY_TAG_MAX + 128 };

static const struct wgpy_part none;
static void *contexts[KEYS][PER_KEY];
static uint8_t plain[STRIDE], reference[STRIDE], room[WGPY_BATCH_MAX][STRIDE];

static void make_contexts(void)
{
    uint8_t key[WGPY_KEY_MAX];

    for (int k = 0; k < KEYS; k++) {
        fill(key, sizeof key);
        for (int i = 0; i < PER_KEY; i++)
            contexts[k][i] = new_context(key);
    }
}

/* One length alone: by seal, by seal_one, twice, opened by both, at each of 64 offsets in turn. */
static void alone(uint32_t size, uint64_t counter)
{
    uint8_t *data = room[0] + size % 64, *other = room[1] + (size * 7 + 1) % 64;
    size_t whole = size + suite->tag_size;

    fill(plain, size);
    memcpy(data, plain, size);
    memcpy(other, plain, size);
    if (!one(true, contexts[0][0], counter, data, size))
        fail("seal refuses %u bytes", size);
    at = "seal_one";
    if (suite->seal_one(contexts[0][1], counter, none, other, size))
        fail("seal_one refuses %u bytes", size);
    if (memcmp(data, other, whole))
        fail("seal and seal_one differ for %u bytes", size);
    if (shows(data, plain, size))
        fail("seal leaves plaintext in a packet of %u bytes", size);
    memcpy(reference, data, whole);
    memmove(other, data, whole);
    if (!one(false, contexts[0][1], counter, data, size) || memcmp(data, plain, size))
        fail("open does not give back %u bytes", size);
    at = "open_one";
    if (suite->open_one(contexts[0][0], counter, none, other, size) || memcmp(other, plain, size))
        fail("open_one does not give back %u bytes", size);
    memcpy(data, plain, size);
    if (!one(true, contexts[0][0], counter, data, size) || memcmp(data, reference, whole))
        fail("seal gives two answers for %u bytes after an open in between", size);
}

void check_lengths(void)
{
    make_contexts();
    for (size_t i = 0; i < LENGTHS; i++)
        alone(length(i), (uint64_t)i << 32 | 0xfffffff0u);
    figure("lengths", LENGTHS);
}

/* A packet's bytes as seal alone makes them, in `reference`. */
static void expect(int key, uint64_t counter, uint32_t size)
{
    memcpy(reference, plain, size);
    one(true, contexts[key][1], counter, reference, size);
}

static void describe(struct wgpy_packet *packets, size_t count, size_t from)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t size = from == SIZE_MAX ? 1420 : length((from + i * 7) % LENGTHS);
        packets[i] = (struct wgpy_packet){contexts[from == SIZE_MAX ? 0 : i % KEYS][0], from * 1000 + i, room[i] + (from + i) % 64, size,
                                          0xaaaaaaaa};
        memcpy(packets[i].data, plain, size);
        memset(packets[i].data + size + suite->tag_size, 0x5a, 8);
    }
}

/* `from` SIZE_MAX: a train, of one length and one key. */
static void batch(size_t count, size_t from)
{
    struct wgpy_packet packets[WGPY_BATCH_MAX];
    uint8_t forged = (uint8_t)below((uint32_t)count);

    describe(packets, count, from);
    at = "seal";
    suite->seal(packets, count);
    for (size_t i = 0; i < count; i++) {
        int key = from == SIZE_MAX ? 0 : (int)(i % KEYS);
        expect(key, packets[i].counter, packets[i].size);
        if (packets[i].ok != 1)
            fail("seal refuses packet %zu of a batch of %zu", i, count);
        if (memcmp(packets[i].data, reference, packets[i].size + suite->tag_size))
            fail("packet %zu of a batch of %zu, of %u bytes, is sealed otherwise than alone", i, count, packets[i].size);
        for (int j = 0; j < 8; j++)
            if (packets[i].data[packets[i].size + suite->tag_size + (size_t)j] != 0x5a) {
                fail("seal writes behind the tag of packet %zu of a batch of %zu", i, count);
                break;
            }
        packets[i].ok = 0xaaaaaaaa;
    }
    packets[forged].data[packets[forged].size] ^= 1;
    at = "open";
    suite->open(packets, count);
    for (size_t i = 0; i < count; i++)
        if (packets[i].ok != (i != forged) || (i != forged && memcmp(packets[i].data, plain, packets[i].size)))
            fail("open gives packet %zu of a batch of %zu, of which %u is forged, the verdict %u or other bytes", i, count, forged,
                 packets[i].ok);
}

void check_batches(void)
{
    make_contexts();
    fill(plain, sizeof plain);
    at = "seal";
    suite->seal(NULL, 0);
    at = "open";
    suite->open(NULL, 0);
    for (size_t count = 1; count <= 64; count++) {
        batch(count, SIZE_MAX);
        batch(count, count * 31 % LENGTHS);
    }
    batch(WGPY_BATCH_MAX, SIZE_MAX);
    batch(WGPY_BATCH_MAX, 5);
    for (size_t from = 0; from < LENGTHS; from += 64)
        batch(64, from);
}

static uint8_t sealed[STRIDE];

/* Opens what is in `sealed`, which has to be refused and to leave no plaintext. */
static void refused(void *context, uint64_t counter, uint32_t size, const char *what, unsigned number)
{
    memcpy(room[0], sealed, size + suite->tag_size);
    if (one(false, context, counter, room[0], size))
        fail("open takes a packet of %u bytes with another %s (%u)", size, what, number);
    else if (shows(room[0], plain, size))
        fail("open leaves plaintext of a packet of %u bytes that it refuses", size);
    memcpy(room[0], sealed, size + suite->tag_size);
    at = "open_one";
    if (!suite->open_one(context, counter, none, room[0], size))
        fail("open_one takes a packet of %u bytes with another %s (%u)", size, what, number);
    else if (shows(room[0], plain, size))
        fail("open_one leaves plaintext of a packet of %u bytes that it refuses", size);
}

static void each_bit(uint32_t size, const char *what, size_t from, size_t to, void *context)
{
    for (size_t bit = 8 * from; bit < 8 * to; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused(context, 7, size, what, (unsigned)(bit - 8 * from));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

void check_forgeries(void)
{
    static const uint32_t sizes[] = {0, 1, 15, 16, 17, 64, 100, 1420};
    uint8_t key[WGPY_KEY_MAX];
    void *context, *other;

    fill(key, sizeof key);
    context = new_context(key);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t size = sizes[i];
        fill(plain, size);
        memcpy(sealed, plain, size);
        one(true, context, 7, sealed, size);
        each_bit(size, "bit of the tag", size, size + suite->tag_size, context);
        each_bit(size, "bit of the ciphertext", 0, size, context);
        for (unsigned bit = 0; bit < 64; bit++) {
            refused(context, 7 ^ 1ull << bit, size, "bit of the counter", bit);
            memcpy(room[1], plain, size);
            one(true, context, 7 ^ 1ull << bit, room[1], size);
            if (!memcmp(room[1], sealed, size + suite->tag_size))
                fail("seal does not look at bit %u of the counter", bit);
        }
        for (unsigned bit = 0; bit < 8 * suite->key_size; bit++) {
            key[bit / 8] ^= (uint8_t)(1 << bit % 8);
            other = new_context(key);
            refused(other, 7, size, "bit of the key", bit);
            suite->context_free(other);
            key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        if (size > 16) /* cut short: its last bytes are taken for the tag */
            refused(context, 7, size - 1, "length", size - 1);
    }
}

static int with(bool seals, uint64_t counter, const uint8_t *additional, size_t additional_size, uint32_t size)
{
    at = seals ? "seal_one" : "open_one";
    return (seals ? suite->seal_one : suite->open_one)(contexts[0][0], counter, (struct wgpy_part){additional, additional_size}, room[0],
                                                       size);
}

void check_additional(void)
{
    static const uint32_t sizes[] = {0, 12, 32, 97};
    uint8_t additional[WGPY_HASH_MAX];

    make_contexts();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t length = 0; length <= suite->hash_size; length++) {
            uint32_t size = sizes[i];
            fill(plain, size);
            fill(additional, sizeof additional);
            memcpy(room[0], plain, size);
            if (with(true, length, additional, length, size))
                fail("seal_one refuses %zu bytes of additional data", length);
            memcpy(sealed, room[0], size + suite->tag_size);
            if (with(false, length, additional, length, size) || memcmp(room[0], plain, size))
                fail("open_one does not give back %u bytes with %zu of additional data", size, length);
            for (size_t bit = 0; bit < 8 * length; bit++) {
                additional[bit / 8] ^= (uint8_t)(1 << bit % 8);
                memcpy(room[0], sealed, size + suite->tag_size);
                if (!with(false, length, additional, length, size))
                    fail("open_one takes another bit %zu of %zu bytes of additional data", bit, length);
                else if (shows(room[0], plain, size))
                    fail("open_one leaves plaintext that it refuses");
                additional[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            memcpy(room[0], sealed, size + suite->tag_size);
            if (length && !with(false, length, additional, length - 1, size))
                fail("open_one takes additional data without its last byte");
        }
}
