/* F1. While a pump's thread sleeps, and after it has returned, its stack holds no part of a
 * key: no word of a transport key, no 8 bytes of a packet's Poly1305 key. With every AEAD
 * backend that this processor has, sealing and opening 1 to 64 packets; built as released. */
#include "core/burn.h"
#include "pumps.h"

#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK = 512 * 1024, MOST = 64, LEN = 1420, SLOT = LEN + WG_OVERHEAD, K = 2 };

static uint8_t key[WG_KEY], poly[MOST][4][8]; /* r, s; r clamped */
static uint8_t datagrams[MOST][SLOT];
static uint32_t packets, sizes[MOST];

static void take_poly_keys(void)
{
    static const uint8_t clamp[16] = {255, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15};
    for (uint32_t i = 0; i < MOST; i++) {
        uint8_t iv[16] = {[8] = (uint8_t)i}, zero[32] = {0}, out[32];
        int n;
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        CHECK(c && EVP_EncryptInit_ex(c, EVP_chacha20(), NULL, key, iv) && EVP_EncryptUpdate(c, out, &n, zero, 32));
        EVP_CIPHER_CTX_free(c);
        memcpy(poly[i][2], out + 16, 16);
        for (int j = 0; j < 16; j++)
            poly[i][j / 8][j % 8] = out[j] & clamp[j];
    }
}

/* Pieces of keys found at every aligned 4 bytes; an all-zero one is none. */
static uint32_t pieces(const uint8_t *stack)
{
    uint32_t found = 0;
    for (uint32_t at = 0; at + 8 <= STACK; at += 4) {
        if (!get_le64(stack + at))
            continue;
        for (int w = 0; w < 8; w++)
            found += !memcmp(stack + at, key + 4 * w, 4);
        for (uint32_t i = 0; i < packets; i++)
            for (int w = 0; w < 4; w++)
                found += !memcmp(stack + at, poly[i][w], 8);
    }
    return found;
}

/* --- pumps --- */

struct source { struct wg_port port; bool opens, more; _Atomic uint32_t batches; };

static int receive(struct wg_port *port, struct wg_batch *b)
{
    struct source *s = (struct source *)port;
    port->drained = !s->more;
    if (!s->batches)
        return 0;
    s->batches--;
    b->endpoint[b->endpoints++] = (struct wg_endpoint){.family = 4, .port = 1};
    for (uint32_t i = 0; i < packets; i++) {
        const uint8_t ip[20] = {0x45, [2] = (uint8_t)(sizes[i] >> 8), (uint8_t)sizes[i], [8] = 64, [9] = UDP,
                                [12] = 10, 1, [16] = 10, 1};
        uint8_t *at = b->bytes + batch_append(b, sizes[i] + (s->opens ? WG_OVERHEAD : 0))->off;
        if (s->opens) {
            memcpy(at, datagrams[i], sizes[i] + WG_OVERHEAD);
        } else {
            memset(at, 0, sizes[i]);
            memcpy(at, ip, sizeof ip);
        }
    }
    return (int)packets;
}

struct sink { struct wg_port port; _Atomic uint32_t taken; };

static void send(struct wg_port *port, struct wg_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        CHECK(b->packet[i].live);
        if (i < packets && b->packet[i].len == sizes[i] + WG_OVERHEAD)
            memcpy(datagrams[i], b->bytes + b->packet[i].off, b->packet[i].len);
    }
    ((struct sink *)port)->taken += b->n;
}

static struct source source;
static struct sink sink;
static struct wg_pump pump[K];
static struct wg_group group;
static union either_stage stages[K];
static pthread_t thread[K];
static uint8_t *stack[K];

static void *run(void *p) { return (void *)(intptr_t)pump_run(p); }

static uint32_t left(uint32_t threads)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < threads; i++)
        found += pieces(stack[i]);
    return found;
}

/* Fails if a piece is there for ever, which one that is not burnt is. */
static void search(const char *name, const char *when, uint32_t threads, bool opens)
{
    uint32_t found = 1;
    for (int i = 0; found && i < 50; i++, usleep(10000))
        found = left(threads);
    if (!found)
        return;
    fprintf(stderr, "%s, %s %u packets, %u threads, %s: %u pieces of keys\n", name, opens ? "opened" : "sealed", packets,
            threads, when, found);
    abort();
}

static void work(const struct wg_aead *aead, uint32_t threads, bool opens)
{
    const struct wg_keypair facts = {.initiator = true, .local = 7, .remote = 7, .birth = pump_clock()};
    pthread_attr_t attr;
    begin(threads, seal_stage_init);
    plane->aead = aead;
    CHECK(plane_install(plane, add_peer(1), &facts, key, key, NULL) == 0);
    source = (struct source){{.receive = receive, .fds = NO_FDS}, opens, threads > 1, threads > 1 && !opens ? 6 : 1};
    sink = (struct sink){{.send = send, .fds = NO_FDS}, 0};
    uint32_t expected = packets * source.batches;
    pumps_init(pump, stages, threads, opens, &source.port, &sink.port);
    if (threads > 1)
        group_init(&group, pump, threads);
    for (uint32_t i = 0; i < threads; i++) {
        memset(stack[i], 0, STACK);
        CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, stack[i], STACK) &&
              !pthread_create(&thread[i], &attr, run, &pump[i]));
    }
    while (sink.taken < expected || (threads == 1 && !counted(&pump[0].sleeps)))
        usleep(100);
    search(aead->name, "asleep", threads, opens);
    for (uint32_t i = 0; i < threads; i++)
        pump_stop(&pump[i]);
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    search(aead->name, "returned", threads, opens);
    for (uint32_t i = 0; i < threads; i++)
        pump_free(&pump[i]);
    if (threads > 1)
        group_free(&group);
    plane_free(plane);
}

/* --- how deep: what differs from the paint that the stack is given --- */

static struct wgpy_packet job[MOST];

static void *dive(void *aead)
{
    ((const struct wg_aead *)aead)->seal(job, packets);
    ((const struct wg_aead *)aead)->open(job, packets);
    return __builtin_frame_address(0);
}

static uint32_t depth(const struct wg_aead *aead)
{
    void *ctx = aead->key_new(key), *frame;
    pthread_attr_t attr;
    for (uint32_t i = 0; i < packets; i++)
        job[i] = (struct wgpy_packet){ctx, i, datagrams[i], sizes[i], 0};
    memset(stack[0], 0xa5, STACK);
    CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, stack[0], STACK) &&
          !pthread_create(&thread[0], &attr, dive, (void *)aead) && !pthread_join(thread[0], &frame));
    aead->key_free(ctx);
    const uint8_t *at = stack[0];
    while (*at == 0xa5)
        at++;
    return (uint32_t)((const uint8_t *)frame - at);
}

int main(void)
{
    static const uint32_t counts[] = {1, 2, 4, 7, 16, 17, 33, 64};
    for (int i = 0; i < WG_KEY; i++)
        key[i] = (uint8_t)(rnd(255) + 1);
    take_poly_keys();
    for (int i = 0; i < K; i++)
        CHECK((stack[i] = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
    for (const struct wg_aead *const *b = aead_backends; *b; b++) {
        uint32_t deepest = 0;
        if (!(*b)->supported())
            continue;
        for (uint32_t c = 0; c < 2 * sizeof counts / sizeof *counts; c++) {
            packets = counts[c / 2];
            for (uint32_t i = 0; i < packets; i++)
                sizes[i] = c % 2 ? 32 + 16 * rnd(80) : LEN - 12;
            for (uint32_t threads = 1; threads <= K; threads++)
                for (int opens = 0; opens < 2; opens++)
                    if (threads == 1 || (packets > 16 && !opens))
                        work(*b, threads, opens);
            uint32_t d = depth(*b);
            deepest = d > deepest ? d : deepest;
        }
        printf("%s: %u bytes deep\n", (*b)->name, deepest);
        CHECK(deepest <= WG_BURN - 4096);
    }
    return 0;
}
