/* Long packets in a row by eights; part of the template of lanes.inc.h, in place of
 * train.inc.h where there is Poly1305 of eight packets at once. That is vector work as
 * ChaCha20 is, so there is nothing to weave: eight packets are encrypted, then
 * authenticated while they are in the cache; or authenticated, then the good ones
 * decrypted. */
#ifndef WG_AEAD_EIGHT_H
#define WG_AEAD_EIGHT_H

#include "ifma.inc.h"

enum { FEW = 4 }; /* packets worth the work of eight */

/* Tags of eight packets, of which the first `n` count: written, or compared in constant time. */
static void authenticate(struct mac *m, struct wgpy_packet *job, uint32_t n, bool sealing)
{
    const struct wgpy_packet *lane[EIGHT];
    wide tag[2];

    for (uint32_t i = 0; i < EIGHT; i++)
        lane[i] = &job[i < n ? i : 0];
    mac_eight(m, lane);
    finish_eight(m, tag);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *given = job[i].data + job[i].size;
        uint64_t differ = 0;

        if (sealing) {
            put_le64(job[i].data + job[i].size, tag[0][i]);
            put_le64(job[i].data + job[i].size + 8, tag[1][i]);
        } else {
            differ = (tag[0][i] ^ get_le64(given)) | (tag[1][i] ^ get_le64(given + 8));
            AEAD_PUBLIC(&differ, sizeof differ);
        }
        job[i].ok = !differ;
    }
}

/* A group: the blocks that are next, from `lane` on, of packets not known to be bad. */
static void make_stream(struct engine *e, uint32_t lane)
{
    e->pieces = 0;
    while (lane < LANES && e->next < e->n) {
        if (e->job[e->next].ok) {
            lane += fill_data(e, lane);
        } else {
            e->next++;
            e->block = 0;
        }
    }
    group((const uint32_t (*)[LANES])e->row, e->ring, &e->chain[0]);
}

static void use_stream(struct engine *e)
{
    for (uint32_t i = 0; i < e->pieces; i++) {
        const struct piece *p = &e->piece[i];
        const struct wgpy_packet *job = &e->job[p->job];
        uint32_t from = 64 * p->first;

        if (job->ok)
            apply(job->data + from, job->data + from, e->ring + 64 * p->lane,
                  (uint32_t)least(64 * p->blocks, job->size - from));
    }
}

/* The first group makes the keys and, in the lanes left over, the first of the data. */
static void eight(struct engine *e, struct mac *m)
{
    for (uint32_t i = 0; i < e->n; i++) {
        set_lanes(e, i, 1, &e->job[i], 0);
        e->job[i].ok = 1;
    }
    e->next = e->block = 0;
    make_stream(e, e->n);
    start_eight(m, e->ring);
    if (!e->sealing)
        authenticate(m, e->job, e->n, false);
    use_stream(e);
    while (e->next < e->n) {
        make_stream(e, 0);
        use_stream(e);
    }
    if (e->sealing)
        authenticate(m, e->job, e->n, true);
}

static void eights(struct wgpy_packet *job, uint32_t n, bool sealing)
{
    struct engine e;
    struct mac m;

    begin(&e, job, n, sealing);
    for (; n; n -= e.n, job += e.n) {
        e.job = job;
        e.n = n < EIGHT ? n : EIGHT;
        eight(&e, &m);
    }
    wipe(e.row, sizeof e.row);
    wipe(e.ring, 64 * LANES);
    wipe(&m, sizeof m);
}

/* Rows of long packets by eights, the rest together. */
static void sort_out(struct wgpy_packet *job, uint32_t n, bool sealing)
{
    uint32_t from = 0, i = 0;

    while (i < n) {
        uint32_t row = i;

        while (row < n && job[row].size >= LONG)
            row++;
        if ((row - i) % EIGHT < FEW)
            row -= (row - i) % EIGHT;
        if (row == i) {
            i++;
            continue;
        }
        if (i > from)
            run(job + from, i - from, sealing);
        eights(job + i, row - i, sealing);
        from = i = row;
    }
    if (from < n)
        run(job + from, n - from, sealing);
}

#endif
