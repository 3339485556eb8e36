/* The hash and the keyed MAC: functions of their input alone, however that is cut into parts. */
#include "harness.h"

#include <string.h>

enum { DATA = 700 };

static uint8_t data[DATA], key[WGPY_HASH_MAX];

static int run(bool keyed, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *out)
{
    at = keyed ? "mac" : "hash";
    if (keyed ? suite->mac(key, key_size, parts, count, out) : suite->hash(parts, count, out)) {
        fail("%s refuses", at);
        return -1;
    }
    return 0;
}

static void cuts(bool keyed, size_t key_size)
{
    size_t out_size = keyed ? suite->mac_size : suite->hash_size;
    uint8_t whole[2][WGPY_HASH_MAX], cut[WGPY_HASH_MAX], none[WGPY_HASH_MAX];

    run(keyed, key_size, NULL, 0, none);
    for (size_t size = 0; size <= DATA; size += size < SHORT ? 1 : 37) {
        struct wgpy_part parts[5] = {{data, size}, {0}, {0}, {0}, {0}};
        run(keyed, key_size, parts, 1, whole[size & 1]);
        if (size && !memcmp(whole[0], whole[1], out_size))
            fail("%s does not look at byte %zu", at, size - 1);
        if (!size && memcmp(whole[0], none, out_size))
            fail("%s of no parts is not that of an empty one", at);
        for (int i = 0; i < 4; i++) {
            size_t a = below((uint32_t)size + 1), b = a + below((uint32_t)(size - a) + 1);
            parts[0] = (struct wgpy_part){data, a};
            parts[1] = (struct wgpy_part){NULL, 0};
            parts[2] = (struct wgpy_part){data + a, b - a};
            parts[3] = (struct wgpy_part){data + b, 0};
            parts[4] = (struct wgpy_part){data + b, size - b};
            run(keyed, key_size, parts, 5, cut);
            if (memcmp(cut, whole[size & 1], out_size))
                fail("%s depends on how %zu bytes are cut into parts", at, size);
        }
    }
}

static void bits(bool keyed, size_t key_size)
{
    size_t out_size = keyed ? suite->mac_size : suite->hash_size;
    struct wgpy_part part = {data, 77};
    uint8_t usual[WGPY_HASH_MAX], other[WGPY_HASH_MAX];

    run(keyed, key_size, &part, 1, usual);
    for (size_t bit = 0; bit < 8 * part.size; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        run(keyed, key_size, &part, 1, other);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (!memcmp(usual, other, out_size))
            fail("%s does not look at bit %zu of its input", at, bit);
    }
    for (size_t bit = 0; keyed && bit < 8 * key_size; bit++) {
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        run(keyed, key_size, &part, 1, other);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (!memcmp(usual, other, out_size))
            fail("mac does not look at bit %zu of a key of %zu bytes", bit, key_size);
    }
}

void check_hash(void)
{
    fill(data, sizeof data);
    cuts(false, 0);
    bits(false, 0);
}

void check_mac(void)
{
    const size_t sizes[] = {suite->hash_size, suite->mac_size};

    fill(data, sizeof data);
    fill(key, sizeof key);
    for (int i = 0; i < 2; i++) {
        cuts(true, sizes[i]);
        bits(true, sizes[i]);
    }
}
