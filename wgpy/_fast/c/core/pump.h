/* A pump moves batches from a source port through a stage to a sink port, on one
 * thread. In a group several do so from one source to one sink.
 *
 * While a thread sleeps until there is work, or has returned, its stack holds no part of a
 * key. A busy one's holds what the last batches left, and is burnt before it sleeps. */
#ifndef WG_PUMP_H
#define WG_PUMP_H

#include <pthread.h>

#include "port.h"

struct wg_pump {
    struct wg_port *source, *sink;
    struct wg_stage *stage;  /* NULL: pass through */
    struct wg_waker *waker;  /* what the stage's pull waits for */
    struct wg_group *group;  /* NULL: alone */
    struct wg_batch batch;
    uint8_t *bytes;          /* the batch's private memory */
    int stop_fd;
    bool more;               /* the stage has more to pull */
    bool held;               /* or will have when the sink has room */
    bool running;
    bool soiled;             /* the stage has run since the stack was burnt */
    bool lends;              /* batches may be received into the sink's memory */
    _Atomic bool stopping;
    _Atomic bool crowded;    /* the sink, after the last batch; a group has one for all */
    wg_counter batches, sleeps;
};

int pump_init(struct wg_pump *, struct wg_port *source, struct wg_stage *, struct wg_port *sink);
void pump_free(struct wg_pump *);
/* Runs until pump_stop: 0, or -errno when the source is gone for good. */
int pump_run(struct wg_pump *);
/* One turn without sleeping at the time `now` (ns; 0: the clock's). Packets handled,
 * or -errno. Not while pump_run runs, of a member of its group neither. */
int pump_step(struct wg_pump *, uint64_t now);
void pump_stop(struct wg_pump *);
uint64_t pump_clock(void); /* CLOCK_BOOTTIME, ns: goes on while the host sleeps */

/* Pumps between the same two ports, each with a stage of its own, that send in the order in
 * which they received. One of them leads: it alone receives, pulls and sleeps. While there
 * is more than fits into its batch, it takes a ticket and leaves the lead to another before
 * it finishes the batch; its turn to send comes when all earlier tickets have sent. */
struct wg_group {
    uint32_t n;
    struct wg_pump *member;
    pthread_mutex_t lead;
    uint64_t tickets;        /* by the leader: given out */
    bool more, held, begun;  /* by the leader: as in wg_pump; the sink was looked after */
    _Atomic bool crowded;
    pthread_mutex_t lock;
    _Atomic uint64_t turn;   /* the ticket that may send */
    pthread_cond_t reached[WG_QUEUES_MAX]; /* by ticket % n: at most n are waited for */
};
/* `n` pumps after pump_init, WG_QUEUES_MAX at most; only the first one's stage has a waker.
 * If the source of one is gone, all end, and one pump_run says so. */
void group_init(struct wg_group *, struct wg_pump *member, uint32_t n);
void group_free(struct wg_group *);

#endif
