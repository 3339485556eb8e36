/* Poly1305 at its limits, by itself; part of test_aead.c. */
extern void wide_authenticate(const uint8_t *keys, struct wgpy_packet job[8]);
extern void wide_finish(const uint64_t h[3], const uint64_t pad[2], uint64_t tag[2]);

/* RFC 8439 appendix A.3, 7 to 11: carries and the final reduction at their limits. */
static void test_poly(void)
{
    static const struct { const char *r, *s, *message, *tag; } vectors[] = {
        {"02000000000000000000000000000000", "00000000000000000000000000000000",
         "ffffffffffffffffffffffffffffffff", "03000000000000000000000000000000"},
        {"02000000000000000000000000000000", "ffffffffffffffffffffffffffffffff",
         "02000000000000000000000000000000", "03000000000000000000000000000000"},
        {"01000000000000000000000000000000", "00000000000000000000000000000000",
         "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff"
         "11000000000000000000000000000000", "05000000000000000000000000000000"},
        {"01000000000000000000000000000000", "00000000000000000000000000000000",
         "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe"
         "01010101010101010101010101010101", "00000000000000000000000000000000"},
        {"02000000000000000000000000000000", "00000000000000000000000000000000",
         "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff"},
    };
    uint8_t key[32], message[48], expected[16], got[16];
    struct poly p;

    for (size_t i = 0; i < lengthof(vectors); i++) {
        unhex(vectors[i].r, key);
        unhex(vectors[i].s, key + 16);
        unhex(vectors[i].message, message);
        unhex(vectors[i].tag, expected);
        poly_start(&p, key);
        for (size_t n = 0; n < strlen(vectors[i].message) / 2; n += 16)
            poly_block(&p, message + n);
        poly_finish(&p, key, got);
        CHECK(!memcmp(got, expected, 16));
    }
    for (int round = 0; round < 2000; round++) { /* random, and extreme, against the model */
        size_t n = 16 * rnd(4);

        for (size_t i = 0; i < sizeof key; i++)
            key[i] = round & 1 ? 255 : (uint8_t)rnd(256);
        for (size_t i = 0; i < n; i++)
            message[i] = round & 2 && rnd(16) ? 255 : (uint8_t)rnd(256);
        poly_start(&p, key);
        for (size_t i = 0; i < n; i += 16)
            poly_block(&p, message + i);
        poly_finish(&p, key, got);
        model_poly(key, message, n, expected);
        CHECK(!memcmp(got, expected, 16));
    }
}

/* Eight packets at a time: the last reduction at its limits; long runs of extreme bytes. */
static void test_eight(void)
{
    enum { MOST = 1200 };
    const uint64_t one = 1, m44 = (one << 44) - 1, m42 = (one << 42) - 1, m64 = UINT64_MAX;
    const struct { uint64_t h[3], pad[2], tag[2]; } ends[] = {
        {{m44 - 5, m44, m42}, {0, 0}, {m64 - 5, m64}}, /* the modulus - 1, itself, and + 4 */
        {{m44 - 4, m44, m42}, {0, 0}, {0, 0}},
        {{m44, m44, m42}, {0, 0}, {4, 0}},
        {{m44, m44 + 1, m42}, {0, 0}, {m44 + 5, 0}},   /* limbs that still must carry */
        {{0, m44 + 512, m42}, {0, 0}, {5 + (511 * one << 44), 0}},
        {{m44, m44 + 1, 0}, {0, 0}, {m44, one << 24}},
        {{2, 0, 0}, {m64, m64}, {1, 0}},
        {{2, 0, 0}, {m64, 3}, {1, 4}},
    };
    static uint8_t secret[8][64], text[8][MOST + 32], expected[16], got[16];
    struct wgpy_packet job[8];
    uint64_t tag[2];

    for (size_t i = 0; i < lengthof(ends); i++) {
        wide_finish(ends[i].h, ends[i].pad, tag);
        CHECK(tag[0] == ends[i].tag[0] && tag[1] == ends[i].tag[1]);
    }
    for (uint32_t round = 0; round < 500; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            const uint32_t len = 512 + rnd(MOST - 511);

            for (uint32_t j = 0; j < 32; j++)
                secret[i][j] = round & 1 && rnd(2) ? (uint8_t)rnd(256) : 255;
            for (uint32_t j = 0; j < len; j++)
                text[i][j] = rnd(round & 2 ? 1000 : 3) ? 255 : (uint8_t)rnd(256);
            job[i] = (struct wgpy_packet){NULL, 0, text[i], len, 0};
        }
        wide_authenticate(secret[0], job);
        for (uint32_t i = 0; i < 8; i++) {
            const uint32_t len = job[i].size;

            memcpy(got, text[i] + len, 16);
            memset(text[i] + len, 0, 32);
            put_le64(text[i] + round16(len) + 8, len);
            model_poly(secret[i], text[i], round16(len) + 16, expected);
            CHECK(!memcmp(got, expected, 16));
        }
    }
}
