/* F1. What the control thread's calls with keys leave: after each no 8 bytes of a key, of a
 * packet's Poly1305 key or of its last state are on the stack below, at any offset, nor in
 * memory that was freed; the same when any of their allocations fails. And what cookies leave
 * on a pump's stack. With every AEAD backend that this processor has; built as released. */
#include "core/burn.h"
#include "pumps.h"

#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>

#include "burn_pieces.h"

enum { STACK = 512 * 1024, LEN = 1420 };

static uint8_t *stack;
static const struct wg_aead *aead;
static uint8_t packet[LEN + WG_TAG];
static uint32_t length, soiled;

/* --- allocations --- */

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
static uint32_t until_failure, watching, freed_with_pieces, failed;
static int32_t kept; /* allocations of a call */
static bool inside;

void *malloc(size_t n)
{
    if (until_failure && !--until_failure) {
        failed++;
        errno = ENOMEM;
        return NULL;
    }
    kept += inside;
    return __libc_malloc(n);
}
void free(void *p)
{
    if (p && watching)
        freed_with_pieces += pieces(p, malloc_usable_size(p)) != 0;
    kept -= inside && p;
    __libc_free(p);
}

/* --- on a thread whose stack we know --- */

static void *call(void *what)
{
    inside = true;
    int ret = ((int (*)(void))(intptr_t)what)();
    inside = false;
    return (void *)(intptr_t)ret;
}

static int on_the_stack(int (*what)(void))
{
    pthread_t thread;
    pthread_attr_t attr;
    void *ret;
    memset(stack, 0, STACK);
    CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, stack, STACK) &&
          !pthread_create(&thread, &attr, call, (void *)(intptr_t)what) && !pthread_join(thread, &ret));
    return (int)(intptr_t)ret;
}

static void clean(const char *what, uint32_t nth)
{
    uint32_t left = pieces(stack, STACK);
    if (!left && !freed_with_pieces)
        return;
    fprintf(stderr, "%s, %s, allocation %u failed: %u pieces of keys on the stack, %u in freed memory\n",
            aead->name, what, nth, left, freed_with_pieces);
    abort();
}

/* Once for each of its allocations that fails, then with none that does. */
static void check(const char *what, int (*how)(void), int good)
{
    int ret = -ENOMEM;
    for (uint32_t nth = 1; ret != good; nth++) {
        until_failure = nth, failed = 0, watching = 1, kept = 0;
        ret = on_the_stack(how);
        watching = until_failure = 0;
        CHECK(ret == good || (ret == -ENOMEM && failed && nth < 1000));
        CHECK(ret == good || !kept || aead->key_free == aead_openssl.key_free); /* which keeps a thread's errors until its end */
        clean(what, failed ? nth : 0);
    }
}

/* --- the calls --- */

static uint32_t slot;

static int install(void)
{
    const struct wg_keypair facts = {.initiator = true, .local = 7, .remote = 7, .birth = 1000};
    return plane_install(plane, slot, &facts, secret_key, secret_key, NULL);
}
static int expire(void) { plane_expire(plane, slot, UINT64_MAX, NULL); return 0; }
static int remove_peer(void) { plane_remove_peer(plane, slot); return 0; }
static int seal_one(void) { return aead_once(aead, secret_key, 5, packet, length, true); }
static int open_one(void) { return aead_once(aead, secret_key, 5, packet, length, false); }

static int seal_and_leave(void)
{
    struct wgpy_packet job = {aead->key_new(secret_key), 5, packet, length, 0};
    aead->seal(&job, 1);
    aead->key_free(job.context);
    return 0;
}

static void with_backend(void)
{
    static const uint32_t lengths[] = {0, 16, 64, 300, LEN};
    begin(2, seal_stage_init);
    plane->aead = aead;
    slot = add_peer(1);
    check("install", install, 0);
    check("install again", install, 0);
    check("expire", expire, 0);
    check("install", install, 0);
    check("remove", remove_peer, 0);
    plane_free(plane);
    for (uint32_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        length = lengths[i];
        memset(packet, 0x33, sizeof packet);
        watch_key();
        CHECK(aead_once(aead, secret_key, 5, packet, length, true) == 0);
        watch_poly(5, packet + length);
        memset(packet, 0x33, sizeof packet);
        on_the_stack(seal_and_leave);
        soiled += pieces(stack, STACK) != 0;
        memset(packet, 0x33, sizeof packet);
        check("seal one", seal_one, 0);
        check("open one", open_one, 0);
        memset(packet, 0x34, sizeof packet);
        check("refuse one", open_one, -EBADMSG);
    }
}

/* --- a compiler that spills what key_new is given, as the next one may --- */

static __attribute__((noinline)) void *spill(const uint8_t key[WG_KEY])
{
    uint8_t below[16384];
    memcpy(below + 3, key, WG_KEY);
    __asm__ volatile("" : : "r"(below) : "memory");
    return aead_openssl.key_new(key);
}

static void with_spills(void)
{
    struct wg_aead spilling = aead_openssl;
    spilling.key_new = spill;
    aead = &spilling;
    watch_key();
    begin(2, seal_stage_init);
    plane->aead = aead;
    slot = add_peer(1);
    check("install", install, 0);
    check("install again", install, 0);
    plane_free(plane);
    aead = &aead_openssl;
}

/* --- cookies: the secret is the key of a MAC on the thread that opens --- */

extern const struct wg_macs macs_wireguard;
static const uint8_t OURS[32] = "public key of the one that hears";
static uint32_t received;

static int receive(struct wg_port *port, struct wg_batch *b)
{
    struct wg_endpoint from = {.family = 4, .port = 1, .addr = {192, 0, 2}};
    uint8_t m[WG_INITIATION_LEN] = {WG_INITIATION}, cookie_key[WG_KEY_MAX];
    struct wg_mac_key mac1_key;
    port->drained = true;
    CHECK(macs_wireguard.keys(&macs_wireguard, OURS, &mac1_key, cookie_key));
    for (uint32_t i = 0; i < 100; i++, received++) {
        put_le32(m + 8, received);
        macs_wireguard.prepared(&macs_wireguard, &mac1_key, m, sizeof m - 32, m + sizeof m - 32);
        struct wg_packet *p = batch_append(b, sizeof m);
        memcpy(b->bytes + p->off, m, sizeof m);
        p->ep = batch_endpoint(b, &from);
    }
    return 100;
}
static void send(struct wg_port *port, struct wg_batch *b) { (void)port, (void)b; }

static struct wg_pump pump;
static int step(void) { return pump_step(&pump, 1000 * WG_SECOND); }

static void cookies(void)
{
    static union either_stage stage;
    struct wg_port source = {.receive = receive, .fds = NO_FDS}, sink = {.send = send, .fds = NO_FDS};
    begin(1, seal_stage_init);
    plane_free(plane);
    CHECK((plane = plane_new(8, 64, 1, aead, &macs_wireguard)));
    plane_set_key(plane, OURS);
    pumps_init(&pump, &stage, 1, true, &source, &sink);
    while (!admission_under_load(&plane->admission, 1000 * WG_SECOND))
        CHECK(pump_step(&pump, 1000 * WG_SECOND) == 100);
    watch_nothing();
    watch((const uint8_t *)plane->admission.secret.word, 32); /* what the MAC keeps of it */
    check("cookies", step, 100);
    CHECK(plane->replies.queue.count);
    pump_free(&pump);
    watching = 1;
    plane_free(plane);
    watching = 0;
    clean("cookies are over", 0);
}

/* --- that the search finds --- */

static __attribute__((noinline)) int leave_a_part(void)
{
    uint8_t below[16384]; /* the part lies deeper than the thread's end goes */
    memcpy(below + 3, secret_key + 5, 8);
    __asm__ volatile("" : : "r"(below) : "memory");
    return 0;
}
static int free_a_part(void)
{
    uint8_t *volatile p = malloc(64);
    memcpy(p + 33, secret_key + 24, 8);
    __asm__ volatile("" : : "r"(p) : "memory");
    free(p);
    return 0;
}

static void search_finds(void)
{
    watch_key();
    on_the_stack(leave_a_part);
    CHECK(pieces(stack, STACK) == 1);
    watching = 1;
    on_the_stack(free_a_part);
    watching = 0;
    CHECK(freed_with_pieces == 1);
    freed_with_pieces = 0;
}

int main(void)
{
    make_key();
    CHECK((stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
    search_finds();
    for (const struct wg_aead *const *b = aead_backends; *b; b++) {
        if (!(*b)->supported())
            continue;
        aead = *b;
        with_backend();
    }
    if (!soiled) /* else the search has seen what burning is for; search_finds() holds for any compiler */
        puts("this compiler leaves nothing, even where nobody burns");
    with_spills();
    cookies();
    return 0;
}
