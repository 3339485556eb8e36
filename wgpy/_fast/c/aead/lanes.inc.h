/* ChaCha20-Poly1305 of many packets at once; a template. A file for an instruction set
 * defines what group.inc.h needs, includes this, and gets a backend.
 *
 * ChaCha20: vector i holds word i of the state of LANES blocks, one a lane, so a quarter
 * round is plain vector arithmetic. A lane may hold any block of any packet: the blocks
 * of a batch (for each packet one for its Poly1305 key, then its data) are laid end to
 * end and cut into groups of LANES, and no lane idles except in the last group.
 *
 * Poly1305: on integer registers, two packets at a time so that one's latency hides the
 * other's, woven into the rounds: the vector and the integer units work in parallel.
 * Sealing absorbs what earlier groups encrypted; opening absorbs the ciphertext as soon
 * as the packet's key block is made, which is done AHEAD packets before its data.
 *
 * Keystream waits in a ring. Opening makes it before the tag is known but combines it
 * with the ciphertext only after the tag was right. When the ring is full, Poly1305 runs
 * alone until the oldest packet's tag is known and its keystream can be used.
 *
 * Nothing branches on or indexes with key, plaintext or keystream; the verdict on a tag
 * is public. Scratch memory is wiped before return; what the compiler spills on the stack is
 * not: callers burn it (burn.h).
 *
 * Long packets in a row are simpler to serve: train.inc.h, or with MADLO eight.inc.h. */
#include "group.inc.h"

#include <stdlib.h>

/* Lets a checker of secret-independent timing treat the verdict as public. */
#ifndef AEAD_PUBLIC
#define AEAD_PUBLIC(p, n) ((void)0)
#endif

enum {
    WINDOW = 64,        /* packets in flight; a power of two */
    RING = 256,         /* blocks of keystream; a power of two */
    AHEAD = 2,
    SHORT = 5,          /* Poly1305 blocks not worth weaving */
};
#define NO_JOB UINT32_MAX

static const uint32_t constant[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}; /* RFC 8439, 2.3 */

struct key { uint32_t word[8]; };

struct flight { /* a packet between its key block and its end */
    uint8_t key[32];
    uint32_t start;     /* ring position of its first data block, before masking */
    uint32_t made;      /* bytes that have keystream */
    uint32_t done;      /* bytes combined with it */
    bool good, ended;
};

struct piece { uint32_t job, lane, first, blocks; }; /* first: data block; a key block if blocks is 0 */

struct engine {
    _Alignas(64) uint32_t row[16][LANES];
    _Alignas(64) uint8_t ring[RING * 64];
    struct flight flight[WINDOW];
    struct piece piece[LANES];
    const struct key *lane_key[LANES];
    struct poly chain[2];
    struct wgpy_packet *job;
    uint32_t n, pieces, made; /* made: blocks, whole groups */
    uint32_t keyed, next, block; /* next key block; next data block */
    uint32_t begun, ended;       /* packets Poly1305 has begun; all before `ended` are over */
    bool sealing;
};

typedef vec loose __attribute__((aligned(1))); /* in packets */

static struct flight *flight_of(struct engine *e, uint32_t job) { return &e->flight[job % WINDOW]; }

/* `count` lanes get consecutive blocks of a packet. Whole rows are written as vectors:
 * a vector load of what was just written word by word would wait for the stores. */
static inline void set_lanes(struct engine *e, uint32_t lane, uint32_t count,
                             const struct wgpy_packet *job, uint32_t block)
{
    const struct key *key = job->context;
    const vec place = PLACES - lane, take = (vec)(place < count);
    vec *row = (vec *)e->row;
    bool fresh = false;

    row[12] = (row[12] & ~take) | ((place + block) & take);
    row[14] = (row[14] & ~take) | ((uint32_t)job->counter & take);
    row[15] = (row[15] & ~take) | ((uint32_t)(job->counter >> 32) & take);
    for (uint32_t i = lane; i < lane + count; i++) {
        fresh |= e->lane_key[i] != key;
        e->lane_key[i] = key;
    }
    for (int i = 0; fresh && i < 8; i++)
        row[4 + i] = (row[4 + i] & ~take) | (key->word[i] & take);
}

static bool ring_has_room(struct engine *e)
{
    if (e->ended == e->next && !e->block)
        return true;
    const struct flight *oldest = flight_of(e, e->ended);
    return e->ended > e->next || e->made + LANES - (oldest->start + oldest->done / 64) <= RING;
}

/* Data blocks of the packet at `next` into the lanes from `lane` on; how many. */
static uint32_t fill_data(struct engine *e, uint32_t lane)
{
    const struct wgpy_packet *job = &e->job[e->next];
    uint32_t blocks = (job->size + 63) / 64, take = blocks - e->block;

    if (take > LANES - lane)
        take = LANES - lane;
    if (!e->block)
        flight_of(e, e->next)->start = e->made + lane;
    if (take) {
        set_lanes(e, lane, take, job, 1 + e->block);
        e->piece[e->pieces++] = (struct piece){e->next, lane, e->block, take};
    }
    e->block += take;
    if (e->block == blocks) {
        e->next++;
        e->block = 0;
    }
    return take;
}

/* Chooses what the next group makes; false if nothing can be made now. */
static bool fill(struct engine *e)
{
    uint32_t lane = 0;

    e->pieces = 0;
    if (!ring_has_room(e))
        return false;
    while (lane < LANES && e->next < e->n) {
        if (e->keyed < e->n && e->keyed <= e->next + AHEAD && e->keyed - e->ended < WINDOW) {
            struct flight *f = flight_of(e, e->keyed);

            f->made = f->done = f->start = 0;
            f->good = f->ended = false;
            set_lanes(e, lane, 1, &e->job[e->keyed], 0);
            e->piece[e->pieces++] = (struct piece){e->keyed++, lane++, 0, 0};
        } else if (e->next < e->keyed) {
            lane += fill_data(e, lane);
        } else {
            break;
        }
    }
    return e->pieces > 0;
}

/* Keystream to a packet's bytes. */
static inline void apply(uint8_t *out, const uint8_t *in, const uint8_t *stream, uint32_t n)
{
    uint32_t i = 0;

    for (; i + sizeof(vec) <= n; i += (uint32_t)sizeof(vec))
        *(loose *)(out + i) = *(const loose *)(in + i) ^ *(const loose *)(stream + i);
    for (; i + 8 <= n; i += 8)
        put_le64(out + i, get_le64(in + i) ^ get_le64(stream + i));
    for (; i < n; i++)
        out[i] = in[i] ^ stream[i];
}

static void combine(struct engine *e, uint32_t index)
{
    const struct wgpy_packet *job = &e->job[index];
    struct flight *f = flight_of(e, index);

    while (f->done < f->made) {
        uint32_t block = (f->start + f->done / 64) % RING, run = (RING - block) * 64;

        if (run > f->made - f->done)
            run = f->made - f->done;
        apply(job->data + f->done, job->data + f->done, e->ring + 64 * block, run);
        f->done += run;
    }
}

/* After a group was made: keys to their packets, keystream to what may have it. */
static void collect(struct engine *e)
{
    for (uint32_t i = 0; i < e->pieces; i++) {
        const struct piece *p = &e->piece[i];
        struct flight *f = flight_of(e, p->job);
        uint32_t len = e->job[p->job].size;

        if (!p->blocks) {
            memcpy(f->key, e->ring + 64 * ((e->made + p->lane) % RING), sizeof f->key);
            continue;
        }
        f->made = 64 * (p->first + p->blocks);
        if (f->made > len)
            f->made = len;
        if (e->sealing || f->good)
            combine(e, p->job);
        if (f->good && f->done == len)
            f->ended = true;
    }
    e->made += LANES;
}

/* Blocks that chain `p` may absorb now; *whole: it has the packet's last byte. */
static void refresh(struct engine *e, struct poly *p, bool *whole)
{
    const struct wgpy_packet *job = &e->job[p->job];
    uint32_t known = e->sealing ? flight_of(e, p->job)->done : job->size;

    p->ready = (known - (uint32_t)(p->at - job->data)) / 16;
    *whole = known == job->size;
}

/* The last blocks of a packet, the lengths, and the tag: written, or compared in
 * constant time. True if sealing or the tag was right. */
static bool settle(struct poly *p, struct wgpy_packet *job, const uint8_t key[32], bool sealing)
{
    uint8_t last[16] = {0}, tag[WG_TAG], differ = 0;

    for (; p->ready; p->ready--, p->at += 16)
        poly_block(p, p->at);
    if (job->size % 16) {
        memcpy(last, p->at, job->size % 16);
        poly_block(p, last);
    }
    put_le64(last, 0);
    put_le64(last + 8, job->size);
    poly_block(p, last);
    poly_finish(p, key, tag);
    if (sealing) {
        memcpy(job->data + job->size, tag, WG_TAG);
    } else {
        for (int i = 0; i < WG_TAG; i++)
            differ |= (uint8_t)(tag[i] ^ job->data[job->size + (uint32_t)i]);
        AEAD_PUBLIC(&differ, sizeof differ);
    }
    job->ok = !differ;
    return job->ok;
}

static void finish_tag(struct engine *e, struct poly *p)
{
    struct wgpy_packet *job = &e->job[p->job];
    struct flight *f = flight_of(e, p->job);

    p->job = NO_JOB;
    f->good = settle(p, job, f->key, e->sealing);
    if (f->good && !e->sealing)
        combine(e, (uint32_t)(job - e->job));
    f->ended = e->sealing || !f->good || f->done == job->size;
}

/* Poly1305 with no group to hide in. */
static void absorb(struct engine *e)
{
    struct poly a = e->chain[0], b = e->chain[1];

    for (; a.ready && b.ready; a.ready--, b.ready--, a.at += 16, b.at += 16) {
        poly_block(&a, a.at);
        poly_block(&b, b.at);
    }
    for (; a.ready; a.ready--, a.at += 16)
        poly_block(&a, a.at);
    for (; b.ready; b.ready--, b.at += 16)
        poly_block(&b, b.at);
    e->chain[0] = a;
    e->chain[1] = b;
}

/* Gives an idle chain the next packet; true if its packet is nearly through. */
static bool nearly(struct engine *e, struct poly *p)
{
    bool whole;

    if (p->job == NO_JOB) {
        if (e->begun == e->keyed)
            return false;
        p->job = e->begun++;
        p->at = e->job[p->job].data;
        poly_start(p, flight_of(e, p->job)->key);
    }
    refresh(e, p, &whole);
    return whole && p->ready < SHORT;
}

/* Ends the packets that are nearly through. */
static void advance(struct engine *e)
{
    struct poly *a = &e->chain[0], *b = &e->chain[1];

    for (;;) {
        bool end_a = nearly(e, a), end_b = nearly(e, b);

        if (!end_a && !end_b)
            break;
        if (end_a && end_b)
            absorb(e);
        if (end_a)
            finish_tag(e, a);
        if (end_b)
            finish_tag(e, b);
    }
    while (e->ended < e->begun && flight_of(e, e->ended)->ended)
        e->ended++;
}

static int least(uint32_t a, uint32_t b) { return (int)(a < b ? a : b); }

/* A group, with as much Poly1305 as there is and fits beside it. */
static void weave(struct engine *e)
{
    struct poly *a = &e->chain[0], *b = &e->chain[1];
    uint8_t *ks = e->ring + 64 * (e->made % RING);
    int both = least(10, (uint32_t)least(a->ready, b->ready) / PAIR), one;

    if (a->ready < b->ready)
        a = b;
    one = least(10, a->ready / ALONE);
    if (2 * both * PAIR > one * ALONE)
        group_two(e->row, ks, both, &e->chain[0], &e->chain[1]);
    else if (one)
        group_one(e->row, ks, one, a);
    else
        group(e->row, ks, a);
    collect(e);
}

static void begin(struct engine *e, struct wgpy_packet *job, uint32_t n, bool sealing)
{
    memset(e->lane_key, 0, sizeof e->lane_key);
    for (int i = 0; i < 16; i++)
        for (int lane = 0; lane < LANES; lane++)
            e->row[i][lane] = i < 4 ? constant[i] : 0;
    memset(e->chain, 0, sizeof e->chain);
    e->chain[0].job = e->chain[1].job = NO_JOB;
    e->job = job;
    e->n = n;
    e->made = e->keyed = e->next = e->block = e->begun = e->ended = 0;
    e->sealing = sealing;
}

static void run(struct wgpy_packet *job, uint32_t n, bool sealing)
{
    struct engine e;

    begin(&e, job, n, sealing);
    while (e.ended < n) {
        if (fill(&e))
            weave(&e);
        else
            absorb(&e);
        advance(&e);
    }
    wipe(e.row, sizeof e.row);
    wipe(e.ring, e.made < RING ? 64 * e.made : sizeof e.ring);
    wipe(e.flight, (n < WINDOW ? n : WINDOW) * sizeof *e.flight);
    wipe(e.chain, sizeof e.chain);
}

#ifdef MADLO
#include "eight.inc.h"
#else
#include "train.inc.h"
#endif

static void lanes_seal(struct wgpy_packet *job, size_t n) { sort_out(job, (uint32_t)n, true); }
static void lanes_open(struct wgpy_packet *job, size_t n) { sort_out(job, (uint32_t)n, false); }

static void *lanes_key_new(const uint8_t bytes[WG_KEY])
{
    struct key *key = malloc(sizeof *key);

    for (int i = 0; key && i < 8; i++)
        key->word[i] = get_le32(bytes + 4 * i);
    return key;
}

static void lanes_key_free(void *ctx)
{
    wipe(ctx, sizeof(struct key));
    free(ctx);
}

#define LANES_BACKEND(id, text, probe) \
    const struct wg_aead id = { \
        .name = text, .key_size = WG_KEY, .tag_size = WG_TAG, .supported = probe, .key_new = lanes_key_new, .key_free = lanes_key_free, \
        .seal = lanes_seal, .open = lanes_open, \
    }
