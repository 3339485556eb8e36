/* Rings, two threads: order and content over a million packets with wakeups by pipe, and
 * neighbours that write at random while the other side works. Under ASan and UBSan. */
#define _GNU_SOURCE
#include "ring_pair.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { PACKETS = 1000000, HOSTILE_ROUNDS = 60000 };
#else
enum { PACKETS = 100000, HOSTILE_ROUNDS = 6000 }; /* emulated */
#endif

static struct wg_doorbell bell(void)
{
    int fds[2];
    CHECK(pipe2(fds, O_NONBLOCK) == 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    return (struct wg_doorbell){.fd = fds[0], .value = (uint32_t)fds[1]};
}

/* The two ends of a pipe stand in one doorbell; this gives the ringing one. */
static struct wg_doorbell ringer(struct wg_doorbell d) { return (struct wg_doorbell){.fd = (int)d.value}; }

static _Atomic bool done;

static uint32_t length_of(uint32_t n) { return 8 + (n * 2654435761u >> 8) % (n % 64 ? 200 : 20000); }

static void *produce(void *arg)
{
    struct pair *p = arg;
    for (uint32_t n = 0; n < PACKETS;) {
        uint32_t batch = 1 + n * 7 % 200;
        for (; batch && n < PACKETS && batch_has_room(p->sent, 1, length_of(n)); batch--, n++) {
            uint32_t len = length_of(n);
            uint8_t *bytes = queue(p->sent, len);
            memset(bytes, (uint8_t)n, len);
            put_le32(bytes, n);
        }
        send_all(p);
        if (n % 1000 < 10)
            usleep(50); /* the consumer falls asleep now and then */
    }
    done = true;
    return NULL;
}

static void sleep_until_bell(struct pair *p)
{
    struct pollfd f = {.fd = p->in.port.fds[0], .events = POLLIN};
    if (p->in.port.may_sleep(&p->in.port))
        CHECK(poll(&f, 1, 3000) == 1 || done); /* a lost wakeup shows here */
}

static void order_and_content(void)
{
    struct pair *p = new_pair(1 << 20, false);
    p->data = bell();
    p->space = bell();
    struct wg_doorbell data = p->data, space = p->space;
    p->data = ringer(data);
    start_producer(p, false);
    p->data = data;
    p->space = ringer(space);
    start_consumer(p, false);
    join(p);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, produce, p) == 0);
    uint32_t next = 0, got = 0;
    for (;;) {
        bool last = done;
        uint32_t n = receive(p);
        for (uint32_t i = 0; i < n; i++) {
            const uint8_t *bytes = p->got->bytes + p->got->packet[i].off;
            uint32_t number = get_le32(bytes);
            CHECK(number >= next && number < PACKETS && p->got->packet[i].len == length_of(number));
            for (uint32_t k = 4; k < p->got->packet[i].len; k++)
                CHECK(bytes[k] == (uint8_t)number);
            next = number + 1;
            got++;
        }
        if (!n && last)
            break;
        if (!n)
            sleep_until_bell(p);
    }
    pthread_join(thread, NULL);
    CHECK(got + p->sent->drops[WG_DROP_queue_full] == PACKETS);
    CHECK(got > PACKETS / 2 && p->in.bad_index == 0 && p->in.bad_record == 0 && p->in.end.attaches == 1);
    fprintf(stderr, "%u of %u packets, %u waits, %u kicks\n", got, PACKETS, (unsigned)p->out.waits, (unsigned)p->out.end.kicks);
    free_pair(p);
}

/* --- a hostile neighbour --- */

struct hostile {
    uint8_t *area;
    size_t size;
    const uint32_t *words;   /* offsets worth lying about */
    uint32_t n;
};

static uint32_t lie(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void *scribble(void *arg)
{
    const struct hostile *h = arg;
    uint64_t s = 12345;
    while (!done) {
        uint32_t r = lie(&s), at = r & 1 ? h->words[lie(&s) % h->n] : (uint32_t)(lie(&s) % (h->size / 4) * 4);
        uint32_t v = r & 2 ? lie(&s) : r & 4 ? lie(&s) % 400 : word(h->area, at) + (r & 8 ? 1u : UINT32_MAX);
        ((volatile uint32_t *)(void *)h->area)[at / 4] = v;
        if (!(r & 0x70))
            usleep(10);
    }
    return NULL;
}

static void lying_producer(void)
{
    static uint32_t words[20 + 64 * 5] = {RING_P_REQUEST_SEEN, RING_P_EPOCH};
    for (uint32_t i = 2; i < 20; i++)
        words[i] = RING_P_HEAD;
    for (uint32_t i = 0; i < 64 * 5; i++)
        words[20 + i] = RING_DESCRIPTOR_TABLE + i / 5 * RING_DESCRIPTOR_SIZE + i % 5 * 4;
    struct pair *p = new_pair(256 * 1024, true);
    struct hostile h = {p->producer, p->size, words, sizeof words / sizeof *words};
    pthread_t thread;
    done = false;
    join(p);
    CHECK(pthread_create(&thread, NULL, scribble, &h) == 0);
    for (uint32_t i = 0; i < HOSTILE_ROUNDS || p->in.bad_record < 20 || p->in.bad_index < 20; i++) {
        CHECK(i < 2000 * HOSTILE_ROUNDS);
        if (i % 16 == 0)
            sched_yield();
        if (i % 64 == 0) { /* an honest producer in between, so that lies get past attachment */
            start_producer(p, true);
            join(p);
        }
        if (i % 16 == 0) {
            from_endpoint(p->sent, 1);
            for (int k = 0; k < 20; k++)
                queue(p->sent, 1 + rnd(1500));
            p->out.stuck = true;
            send_all(p);
        }
        receive(p);
        p->in.port.may_sleep(&p->in.port);
        for (uint32_t k = 0; k < p->got->n; k++)
            CHECK(p->got->packet[k].len <= WG_PACKET_MAX && p->got->packet[k].ep < p->got->endpoints);
    }
    done = true;
    pthread_join(thread, NULL);
    fprintf(stderr, "lying producer: %u bad records, %u bad indices, %u attachments, %u packets\n", (unsigned)p->in.bad_record,
           (unsigned)p->in.bad_index, (unsigned)p->in.end.attaches, (unsigned)p->in.port.packets_in);
    memset(p->producer, 0, p->size);
    start_producer(p, true); /* an honest one is heard again */
    join(p);
    join(p);
    from_endpoint(p->sent, 1);
    queue(p->sent, 100);
    send_all(p);
    CHECK(receive(p) == 1);
    free_pair(p);
}

static void lying_consumer(void)
{
    static const uint32_t words[] = {RING_C_REQUEST, RING_C_TAIL, RING_C_TAIL, RING_C_TAIL, RING_C_TAIL,
                                     RING_C_SLEEPING};
    struct pair *p = new_pair(256 * 1024, true);
    struct hostile h = {p->consumer, RING_CONSUMER_SIZE, words, sizeof words / sizeof *words};
    pthread_t thread;
    done = false;
    join(p);
    CHECK(pthread_create(&thread, NULL, scribble, &h) == 0);
    for (uint32_t i = 0; i < HOSTILE_ROUNDS / 4 || p->out.end.attaches < 10; i++) {
        CHECK(i < 2000 * HOSTILE_ROUNDS);
        poke(p->consumer, RING_C_ACKNOWLEDGED, p->out.epoch);
        if (i % 2)
            poke(p->consumer, RING_C_TAIL, p->out.head);
        if (i % 16 == 0)
            sched_yield();
        p->out.stuck = i % 512 != 0; /* few waits, so that the test is not made of them */
        from_endpoint(p->sent, 1);
        for (int k = 0; k < 10; k++)
            queue(p->sent, 1 + rnd(i % 8 ? 1500 : 60000) % (WG_BATCH_BYTES / 16));
        send_all(p);
        p->out.port.service(&p->out.port);
    }
    done = true;
    pthread_join(thread, NULL);
    fprintf(stderr, "lying consumer: %u attachments, %u packets out\n", (unsigned)p->out.end.attaches,
           (unsigned)p->out.port.packets_out);
    CHECK(p->out.port.packets_out > 0);
    memset(p->consumer, 0, RING_CONSUMER_SIZE);
    start_consumer(p, true);
    join(p);
    from_endpoint(p->sent, 1);
    queue(p->sent, 100);
    send_all(p);
    CHECK(receive(p) == 1);
    free_pair(p);
}

int main(void)
{
    order_and_content();
    lying_producer();
    lying_consumer();
    return 0;
}
