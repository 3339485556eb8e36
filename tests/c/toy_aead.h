/* A cipher of no worth, to move bytes with tags of any size: each byte is turned by key, counter
 * and place, and the tag is a sum of what was read. */
#ifndef TOY_AEAD_H
#define TOY_AEAD_H

#include "aead/aead.h"
#include "check.h"

#include <stdlib.h>

static uint8_t toy_byte(const struct wgpy_packet *job, uint32_t at)
{
    return (uint8_t)(*(const uint8_t *)job->context * 31u + (uint8_t)job->counter * 7u + at * 13u + (at >> 8) + 1u);
}

static uint8_t toy_tag(const struct wgpy_packet *job, uint32_t at)
{
    uint32_t sum = toy_byte(job, at);
    for (uint32_t i = 0; i < job->size; i++)
        sum = sum * 33 + job->data[i];
    return (uint8_t)(sum >> at % 8);
}

static void toy_turn(const struct wgpy_packet *job)
{
    for (uint32_t i = 0; i < job->size; i++)
        job->data[i] ^= toy_byte(job, i);
}

static void toy_seal(struct wgpy_packet *job, size_t n, uint32_t tag)
{
    for (; n; job++, n--) {
        toy_turn(job);
        for (uint32_t i = 0; i < tag; i++)
            job->data[job->size + i] = toy_tag(job, i);
        job->ok = 1;
    }
}

static void toy_open(struct wgpy_packet *job, size_t n, uint32_t tag)
{
    for (; n; job++, n--) {
        job->ok = 1;
        for (uint32_t i = 0; i < tag; i++)
            job->ok &= job->data[job->size + i] == toy_tag(job, i);
        if (job->ok)
            toy_turn(job);
    }
}

static void *toy_key_new(const uint8_t *key)
{
    uint8_t *made = malloc(1);
    CHECK(made);
    *made = key[0];
    return made;
}

#define TOY_AEAD(tag) \
    static void toy_seal_##tag(struct wgpy_packet *job, size_t n) { toy_seal(job, n, tag); } \
    static void toy_open_##tag(struct wgpy_packet *job, size_t n) { toy_open(job, n, tag); } \
    static const struct wg_aead toy_##tag = {.name = #tag, .key_size = WG_KEY, .tag_size = tag, .key_new = toy_key_new, \
                                             .key_free = free, .seal = toy_seal_##tag, .open = toy_open_##tag}

#endif
