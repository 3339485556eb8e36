#include "aead/blake2s.h"
#include "check.h"
#include "core/wg.h"

/* RFC 7693, appendix B, and lengths at the borders of a block with the key of its appendix E. */
int main(void)
{
    static const uint8_t abc[32] = {
        0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14, 0xe2, 0xe1, 0xa7, 0x2b, 0xa3, 0x4e, 0xeb, 0x45, 0x2f,
        0x37, 0x45, 0x8b, 0x20, 0x9e, 0xd6, 0x3a, 0x29, 0x4d, 0x99, 0x9b, 0x4c, 0x86, 0x67, 0x59, 0x82};
    static const uint8_t all[32] = { /* appendix E: hash of hashes */
        0x6a, 0x41, 0x1f, 0x08, 0xce, 0x25, 0xad, 0xcd, 0xfb, 0x02, 0xab, 0xa6, 0x41, 0x45, 0x1c, 0xec,
        0x53, 0xc5, 0x98, 0xb2, 0x4f, 0x4f, 0xc7, 0x87, 0xfb, 0xdc, 0x88, 0x79, 0x7f, 0x4c, 0x1d, 0xfe};
    static const uint8_t outs[] = {16, 20, 28, 32}, lens[][2] = {{0, 0}, {0, 3}, {0, 64}, {0, 65}, {0, 255}, {4, 0}};
    uint8_t out[32], in[1024], key[32], hashes[24 * 8 * 32];
    uint32_t used = 0;
    blake2s(out, 32, NULL, 0, (const uint8_t *)"abc", 3);
    CHECK(!memcmp(out, abc, 32));
    for (int o = 0; o < 4; o++)
        for (int l = 0; l < 6; l++) {
            size_t len = (size_t)lens[l][0] * 256 + lens[l][1];
            for (int keyed = 0; keyed < 2; keyed++) {
                uint32_t seeds[2] = {(uint32_t)len, outs[o]};
                for (int which = 0; which < 2; which++) {
                    uint32_t a = 0xDEAD4BADu * seeds[which], b = 1;
                    size_t n = which ? outs[o] : len;
                    for (size_t i = 0; i < n; i++) {
                        uint32_t t = a + b;
                        a = b;
                        b = t;
                        (which ? key : in)[i] = (uint8_t)(t >> 24);
                    }
                }
                blake2s(hashes + used, outs[o], key, keyed ? outs[o] : 0, in, len);
                if (keyed && len) {
                    uint32_t state[8];
                    uint8_t again[32];
                    blake2s_key(state, outs[o], key, outs[o]);
                    blake2s_keyed(again, outs[o], state, in, len);
                    CHECK(!memcmp(again, hashes + used, outs[o]));
                }
                used += outs[o];
            }
        }
    blake2s(out, 32, NULL, 0, hashes, used);
    CHECK(!memcmp(out, all, 32));
    return 0;
}
