/* Every buffer ends at a page that nobody may touch, then begins behind one, and inputs may not be
 * written: who goes a byte too far gets a signal, and the line says in which function. */
#include "harness.h"

#include <string.h>

static bool behind;

static uint8_t *input(int slot, size_t size)
{
    uint8_t *p = guarded(slot, size, behind);

    fill(p, size);
    read_only(slot, true);
    return p;
}

static struct wgpy_part *part(int slot, int data_slot, size_t size)
{
    struct wgpy_part *p = (void *)guarded(slot, sizeof *p, behind);

    *p = (struct wgpy_part){input(data_slot, size), size};
    read_only(slot, true);
    return p;
}

static void keys(void)
{
    uint8_t *private_key, *public_key, *shared, *entropy;

    for (int tries = 0; tries < 32; tries++) {
        entropy = input(0, suite->entropy_size);
        private_key = guarded(1, suite->private_size, behind);
        at = "private_key";
        if (!suite->private_key(entropy, private_key))
            break;
    }
    read_only(1, true);
    public_key = guarded(2, suite->public_size, behind);
    at = "public_key";
    suite->public_key(private_key, public_key);
    read_only(2, true);
    shared = guarded(3, suite->shared_size, behind);
    at = "dh";
    suite->dh(private_key, public_key, shared);
    public_key = input(2, suite->public_size);
    suite->dh(private_key, public_key, shared);
}

static void digests(void)
{
    for (size_t size = 0; size <= 2 * WGPY_BLOCK_MAX; size++) {
        at = "hash";
        suite->hash(part(0, 1, size), 1, guarded(2, suite->hash_size, behind));
        for (int i = 0; i < 2; i++) {
            size_t key_size = i ? suite->mac_size : suite->hash_size;
            at = "mac";
            suite->mac(input(3, key_size), key_size, part(0, 1, size), 1, guarded(2, suite->mac_size, behind));
        }
    }
}

static void packets(void)
{
    uint8_t *key = input(0, suite->key_size), *data;
    void *context;
    struct wgpy_packet *packet;

    at = "context_new";
    context = suite->context_new(key);
    for (size_t i = 0; i < LENGTHS; i++) {
        data = guarded(1, length(i) + suite->tag_size, behind);
        fill(data, length(i));
        packet = (void *)guarded(2, sizeof *packet, behind);
        *packet = (struct wgpy_packet){context, i, data, length(i), 0};
        at = "seal";
        suite->seal(packet, 1);
        at = "open";
        suite->open(packet, 1);
        data[length(i)] ^= 1;
        suite->open(packet, 1);
    }
    for (size_t size = 0; size <= suite->hash_size; size++)
        for (uint32_t plain = 0; plain <= 256; plain += 13) {
            struct wgpy_part additional = {input(3, size), size};
            data = guarded(1, plain + suite->tag_size, behind);
            at = "seal_one";
            suite->seal_one(context, size, additional, data, plain);
            at = "open_one";
            suite->open_one(context, size, additional, data, plain);
        }
    suite->context_free(context);
}

static void batches(void)
{
    void *context = new_context(NULL);
    struct wgpy_packet *batch;

    for (size_t count = 1; count <= 12; count++)
        for (uint32_t size = 0; size < SHORT; size += 7) {
            batch = (void *)guarded(15, count * sizeof *batch, behind);
            for (size_t i = 0; i < count; i++)
                batch[i] = (struct wgpy_packet){context, i, guarded((int)i, size + suite->tag_size, behind), size, 0};
            at = "seal, in a batch";
            suite->seal(batch, count);
            at = "open, in a batch";
            suite->open(batch, count);
        }
    suite->context_free(context);
}

static void cookies(void)
{
    uint8_t *key = input(0, suite->cookie_key_size), *nonce = input(1, suite->cookie_nonce_size);
    struct wgpy_part additional = {input(2, suite->mac_size), suite->mac_size};
    uint8_t *data = guarded(3, suite->mac_size + suite->cookie_tag_size, behind);

    at = "cookie_seal";
    suite->cookie_seal(key, nonce, additional, data, suite->mac_size);
    at = "cookie_open";
    suite->cookie_open(key, nonce, additional, data, suite->mac_size);
}

void check_bounds(void)
{
    for (int i = 0; i < 2; i++) {
        behind = !i;
        keys();
        digests();
        packets();
        batches();
        cookies();
    }
}
