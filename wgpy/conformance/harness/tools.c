/* Random bytes, guarded memory, keys and packets for all checks. */
#include "harness.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const uint32_t edges[] = {319, 320, 511, 512, 513, 575, 576, 1023, 1024, 1025, 1279, 1280, 1328, 1392, 1408, 1420, 1424, 1440, 1452,
                          1472, 1500, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192, 8193, 8920, 9000, 16383, 16384, 16385, 32767,
                          32768, 32769, 65519, 65520, 65521, 65534, 65535};
const size_t edge_count = sizeof edges / sizeof *edges;

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void fill(void *out, size_t size)
{
    uint64_t word;

    for (size_t i = 0; i < size; i += 8) {
        word = next();
        memcpy((uint8_t *)out + i, &word, size - i < 8 ? size - i : 8);
    }
}

uint32_t below(uint32_t bound)
{
    return (uint32_t)(next() % bound);
}

bool zero(const uint8_t *data, size_t size)
{
    uint8_t any = 0;

    for (size_t i = 0; i < size; i++)
        any |= data[i];
    return !any;
}

uint32_t length(size_t number)
{
    if (number <= SHORT)
        return (uint32_t)number;
    number -= SHORT + 1;
    return number < edge_count ? edges[number] : SHORT + (uint32_t)((number * 7919 + 1) * 104729 % (WGPY_PACKET_MAX - SHORT));
}

static uint8_t *slots[16]; /* ROOM bytes each, between pages that nobody may touch */

uint8_t *guarded(int slot, size_t size, bool behind)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *whole;

    if (!slots[slot]) {
        whole = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (whole == MAP_FAILED || mprotect(whole + page, ROOM, PROT_READ | PROT_WRITE))
            give_up("no memory");
        slots[slot] = whole + page;
    }
    read_only(slot, false);
    return behind ? slots[slot] + ROOM - size : slots[slot];
}

void read_only(int slot, bool yes)
{
    if (mprotect(slots[slot], ROOM, yes ? PROT_READ : PROT_READ | PROT_WRITE))
        give_up("mprotect failed");
}

void new_pair(uint8_t *private_key, uint8_t *public_key)
{
    uint8_t entropy[WGPY_PUBLIC_MAX];

    for (int tries = 0; tries < 128; tries++) {
        fill(entropy, suite->entropy_size);
        at = "private_key";
        if (suite->private_key(entropy, private_key))
            continue;
        at = "public_key";
        if (!suite->public_key(private_key, public_key))
            return;
        fail("public_key refuses what private_key made");
        break;
    }
    fail("private_key refuses 128 random inputs in turn");
    _Exit(1);
}

void *new_context(const uint8_t *key)
{
    uint8_t random[WGPY_KEY_MAX];
    void *context;

    fill(random, suite->key_size);
    at = "context_new";
    context = suite->context_new(key ? key : random);
    if (!context) {
        fail("context_new gives nothing");
        _Exit(1);
    }
    return context;
}

bool one(bool seals, void *context, uint64_t counter, uint8_t *data, uint32_t size)
{
    struct wgpy_packet packet = {context, counter, data, size, 0xaaaaaaaa};

    at = seals ? "seal" : "open";
    (seals ? suite->seal : suite->open)(&packet, 1);
    if (packet.ok > 1)
        fail("%s leaves no verdict: ok is %u", at, packet.ok);
    if (packet.context != context || packet.counter != counter || packet.data != data || packet.size != size)
        fail("%s changes the packet's description", at);
    return packet.ok == 1;
}

bool shows(const uint8_t *data, const uint8_t *plain, size_t size)
{
    for (size_t i = 0; i + 16 <= size; i += 16)
        if (!memcmp(data + i, plain + i, 16))
            return true;
    return size >= 4 && size < 16 && !memcmp(data, plain, size);
}
