/* Runs the known answers that a library brings. They are checked for what they are of first, so that
 * no function gets a buffer of another size than its own. Keys here are published. */
#include "guarded.h"
#include "suite.h"

enum { IN = 4, LONGEST = 1 << 20 }; /* bytes that are hashed at most */

struct run {
    const struct wgpy_suite *t;
    const struct wgpy_vector *v;
    struct guarded out;
    bool refused;
};

static const char *const names[] = {
    [WGPY_PRIVATE_OF] = "private_of", [WGPY_PUBLIC_OF] = "public_of", [WGPY_DH] = "dh", [WGPY_HASH] = "hash",
    [WGPY_HMAC] = "hmac", [WGPY_MAC] = "mac", [WGPY_SEAL] = "seal", [WGPY_COOKIE_SEAL] = "cookie_seal",
};
enum { FUNCTIONS = sizeof names / sizeof *names };

static size_t in(const struct run *r, int i) { return r->v->in[i].size; }

/* Bytes of the answer; 0 when the vector fits no function. */
static size_t answer_size(const struct run *r)
{
    const struct wgpy_suite *t = r->t;
    for (int i = 0; i < IN; i++)
        if (in(r, i) > LONGEST || (in(r, i) && !r->v->in[i].data))
            return 0;
    switch (r->v->function) {
    case WGPY_PRIVATE_OF: return in(r, 0) == t->entropy_size ? t->private_size : 0;
    case WGPY_PUBLIC_OF: return in(r, 0) == t->private_size ? t->public_size : 0;
    case WGPY_DH: return in(r, 0) == t->private_size && in(r, 1) == t->public_size ? t->shared_size : 0;
    case WGPY_HASH: case WGPY_HMAC: return t->hash_size;
    case WGPY_MAC: return in(r, 0) == t->hash_size || in(r, 0) == t->mac_size ? t->mac_size : 0;
    case WGPY_SEAL: return in(r, 0) == t->key_size && in(r, 2) <= WGPY_PACKET_MAX ? in(r, 2) + t->tag_size : 0;
    case WGPY_COOKIE_SEAL:
        return in(r, 0) == t->cookie_key_size && in(r, 1) == t->cookie_nonce_size && in(r, 3) <= WGPY_PACKET_MAX ?
                   in(r, 3) + t->cookie_tag_size : 0;
    default: return 0;
    }
}

/* An answer of no bytes says that the function has to refuse. */
static bool fits(const struct run *r, size_t size)
{
    bool may_refuse = r->v->function <= WGPY_DH;
    return size && (r->v->out.size == size || (may_refuse && !r->v->out.size)) && (!r->v->out.size || r->v->out.data);
}

static bool right(const struct run *r) { return !r->refused && !memcmp(r->out.data, r->v->out.data, r->v->out.size); }

static bool is_plain(const struct run *r, struct wgpy_part plain)
{
    return !plain.size || !memcmp(r->out.data, plain.data, plain.size);
}

static void put_plain(const struct run *r, struct wgpy_part plain)
{
    if (plain.size)
        memcpy(r->out.data, plain.data, plain.size);
}

/* Both ways, by the functions for one packet and, without additional data, by those for batches. */
static bool sealed(struct run *r)
{
    const struct wgpy_part additional = r->v->in[1], plain = r->v->in[2];
    void *context = r->t->context_new(r->v->in[0].data);
    struct wgpy_packet packet = {context, r->v->counter, r->out.data, (uint32_t)plain.size, 0};
    if (!context)
        return false;
    put_plain(r, plain);
    bool good = !r->t->seal_one(context, packet.counter, additional, packet.data, plain.size) && right(r) &&
                !r->t->open_one(context, packet.counter, additional, packet.data, plain.size) && is_plain(r, plain);
    if (good && !additional.size) {
        r->t->seal(&packet, 1);
        good = packet.ok == 1 && right(r);
        packet.ok = 0;
        r->t->open(&packet, 1);
        good = good && packet.ok == 1 && is_plain(r, plain);
    }
    r->t->context_free(context);
    return good;
}

static bool cookie_sealed(struct run *r)
{
    const struct wgpy_part *p = r->v->in;
    put_plain(r, p[3]);
    return !r->t->cookie_seal(p[0].data, p[1].data, p[2], r->out.data, p[3].size) && right(r) &&
           !r->t->cookie_open(p[0].data, p[1].data, p[2], r->out.data, p[3].size) && is_plain(r, p[3]);
}

static bool answers(struct run *r)
{
    const struct wgpy_suite *t = r->t;
    const struct wgpy_part *p = r->v->in;
    int ret;
    switch (r->v->function) {
    case WGPY_PRIVATE_OF: ret = t->private_key(p[0].data, r->out.data); break;
    case WGPY_PUBLIC_OF: ret = t->public_key(p[0].data, r->out.data); break;
    case WGPY_DH: ret = t->dh(p[0].data, p[1].data, r->out.data); break;
    case WGPY_HASH: ret = t->hash(p, 1, r->out.data); break;
    case WGPY_HMAC: ret = suite_hmac(t, p[0], p[1], r->out.data) ? 0 : -1; break;
    case WGPY_MAC: ret = t->mac(p[0].data, p[0].size, p + 1, 1, r->out.data); break;
    case WGPY_SEAL: return sealed(r);
    default: return cookie_sealed(r);
    }
    r->refused = ret != 0;
    return r->v->out.size ? right(r) : r->refused;
}

bool suite_known_answers(const struct wgpy_suite *t, struct wg_suite_fault *fault)
{
    bool seen[FUNCTIONS] = {false};
    if (!t->vectors || !t->vector_count)
        return suite_fault(fault, WG_SUITE_vectors, "there are none");
    for (size_t i = 0; i < t->vector_count; i++) {
        struct run r = {.t = t, .v = &t->vectors[i]};
        size_t size = answer_size(&r);
        if (!fits(&r, size))
            return suite_fault(fault, WG_SUITE_vector, "vectors[%zu], of function %u", i, r.v->function);
        r.out = guarded_new(size);
        if (!r.out.data)
            return suite_fault(fault, WG_SUITE_failed, "out of memory");
        bool good = answers(&r), intact = guarded_intact(&r.out);
        guarded_free(&r.out);
        if (!intact)
            return suite_fault(fault, WG_SUITE_overrun, "%s, with vectors[%zu]", names[r.v->function], i);
        if (!good)
            return suite_fault(fault, WG_SUITE_known_answer, "vectors[%zu], of %s, from %.80s", i, names[r.v->function],
                               r.v->source ? r.v->source : "nowhere");
        seen[r.v->function] |= r.v->out.size > 0;
    }
    for (int f = WGPY_PRIVATE_OF; f < FUNCTIONS; f++)
        if (!seen[f])
            return suite_fault(fault, WG_SUITE_vectors, "%s", names[f]);
    return true;
}
