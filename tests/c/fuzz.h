/* Entry point and input cursor of the libFuzzer targets. */
#ifndef FUZZ_H
#define FUZZ_H

#include "check.h"
#include "core/wg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *p;
    size_t left;
};

static inline uint8_t take(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->p++;
}

static inline void take_bytes(struct input *in, uint8_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = take(in);
}

#endif
