/* Long packets in a row, which bulk traffic is made of; part of the template of
 * lanes.inc.h, where packets of all lengths share groups. Here each packet has its
 * groups to itself, so that nothing about lanes has to be kept.
 *
 * Its last group has a lane to spare, and that makes the Poly1305 key of the packet two
 * further on. Poly1305 is woven in from a neighbour: sealing, from the packet before,
 * whose ciphertext is whole; opening, from the packet behind, so that each is known to be
 * good before its own turn, and keystream is used as soon as it is made. */
#ifndef WG_AEAD_TRAIN_H
#define WG_AEAD_TRAIN_H

enum {
    WIDTH = 64 * LANES, /* bytes of keystream in a group */
    TRAIN = 4,          /* packets; its ends are not hidden, so fewer are no gain */
    CHAIN_LANES = 8,    /* one chain of Poly1305 keeps pace with so many */
};

struct train {
    vec row[16];
    _Alignas(64) uint8_t stream[WIDTH];
    uint8_t key[4][32];      /* of packet i at i % 4 */
    struct poly chain;
    const struct key *ctx;   /* whose words rows 4 to 11 are in all lanes; or NULL */
};

/* At least one lane left over in the last group, but few. */
static bool suits_train(uint32_t len)
{
    uint32_t rest = (len % WIDTH + 63) / 64;

    return (int)LANES <= (int)CHAIN_LANES && rest < LANES && (LANES - 1 - rest) * 8 <= len / 64;
}

static void set_rows(struct train *t, const struct wgpy_packet *job, uint32_t block)
{
    const struct key *key = job->context;
    const vec zero = {0};

    for (int i = 0; t->ctx != key && i < 8; i++)
        t->row[4 + i] = zero + key->word[i];
    t->ctx = key;
    t->row[12] = PLACES + block;
    t->row[14] = zero + (uint32_t)job->counter;
    t->row[15] = zero + (uint32_t)(job->counter >> 32);
}

/* The last lane makes block 0 of another packet. */
static void lend_lane(struct train *t, const struct wgpy_packet *job)
{
    const struct key *key = job->context;
    const vec lane = (vec)(PLACES == LANES - 1);

    for (int i = 0; t->ctx != key && i < 8; i++)
        t->row[4 + i] = (t->row[4 + i] & ~lane) | (key->word[i] & lane);
    if (t->ctx != key)
        t->ctx = NULL;
    t->row[12] &= ~lane;
    t->row[14] = (t->row[14] & ~lane) | ((uint32_t)job->counter & lane);
    t->row[15] = (t->row[15] & ~lane) | ((uint32_t)(job->counter >> 32) & lane);
}

static void make_stream(struct train *t)
{
    int woven = least(10, t->chain.ready / ALONE);

    group_one((const uint32_t (*)[LANES])t->row, t->stream, woven, &t->chain);
    t->chain.ready -= (uint32_t)woven * ALONE;
}

/* Keys of one packet or two that no group before could make. */
static void make_keys(struct train *t, const struct wgpy_packet *job, uint8_t *key,
                      const struct wgpy_packet *other, uint8_t *other_key)
{
    set_rows(t, job, 0);
    if (other)
        lend_lane(t, other);
    make_stream(t);
    memcpy(key, t->stream, 32);
    if (other)
        memcpy(other_key, t->stream + 64 * (LANES - 1), 32);
}

static void crypt_one(struct train *t, const struct wgpy_packet *job, const struct wgpy_packet *ahead,
                      uint8_t *ahead_key)
{
    uint32_t done = 0;

    set_rows(t, job, 1);
    for (; job->size - done >= WIDTH; done += WIDTH) {
        make_stream(t);
        apply(job->data + done, job->data + done, t->stream, WIDTH);
        t->row[12] += LANES;
    }
    if (ahead)
        lend_lane(t, ahead);
    make_stream(t);
    apply(job->data + done, job->data + done, t->stream, job->size - done);
    if (ahead)
        memcpy(ahead_key, t->stream + 64 * (LANES - 1), 32);
}

static void start_chain(struct train *t, const struct wgpy_packet *job, const uint8_t *key)
{
    poly_start(&t->chain, key);
    t->chain.at = job->data;
    t->chain.ready = job->size / 16;
}

static void train(struct wgpy_packet *job, uint32_t n, bool sealing)
{
    struct train t;

    memset(&t.chain, 0, sizeof t.chain);
    t.ctx = NULL;
    for (int i = 0; i < 4; i++)
        t.row[i] = (vec){0} + constant[i];
    t.row[13] = (vec){0};
    make_keys(&t, &job[0], t.key[0], &job[1], t.key[1]);
    if (!sealing) {
        start_chain(&t, &job[0], t.key[0]);
        settle(&t.chain, &job[0], t.key[0], false);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct wgpy_packet *ahead = i + 2 < n ? &job[i + 2] : NULL;
        uint32_t beside = sealing ? i - 1 : i + 1;
        uint8_t *key = t.key[beside % 4], *ahead_key = t.key[(i + 2) % 4];

        if (beside < n)
            start_chain(&t, &job[beside], key);
        if (sealing || job[i].ok)
            crypt_one(&t, &job[i], ahead, ahead_key);
        else if (ahead)
            make_keys(&t, ahead, ahead_key, NULL, NULL);
        if (beside < n)
            settle(&t.chain, &job[beside], key, sealing);
    }
    if (sealing) {
        start_chain(&t, &job[n - 1], t.key[(n - 1) % 4]);
        settle(&t.chain, &job[n - 1], t.key[(n - 1) % 4], true);
    }
    wipe(&t, sizeof t);
}

/* Trains apart, what is between them together. */
static void sort_out(struct wgpy_packet *job, uint32_t n, bool sealing)
{
    uint32_t from = 0, i = 0;

    while (i < n) {
        uint32_t row = 0;

        for (; i < n && row < TRAIN; i++)
            row = suits_train(job[i].size) ? row + 1 : 0;
        if (row < TRAIN)
            break;
        if (i - TRAIN > from)
            run(job + from, i - TRAIN - from, sealing);
        from = i - TRAIN;
        while (i < n && suits_train(job[i].size))
            i++;
        train(job + from, i - from, sealing);
        from = i;
    }
    if (from < n)
        run(job + from, n - from, sealing);
}

#endif
