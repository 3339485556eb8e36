/* A pump moves batches from a source port through a stage to a sink port, on one
 * thread. */
#ifndef WG_PUMP_H
#define WG_PUMP_H

#include "port.h"

struct wg_pump {
    struct wg_port *source, *sink;
    struct wg_stage *stage;  /* NULL: pass through */
    struct wg_batch batch;
    uint8_t *bytes;          /* the batch's private memory */
    int stop_fd;
    _Atomic bool stopping;
    bool more;               /* the stage has more to pull */
    bool running;
    bool lends;              /* batches may be received into the sink's memory */
    wg_counter batches, sleeps;
};

int pump_init(struct wg_pump *, struct wg_port *source, struct wg_stage *, struct wg_port *sink);
void pump_free(struct wg_pump *);
/* Runs until pump_stop: 0, or -errno when the source is gone for good. */
int pump_run(struct wg_pump *);
/* One turn without sleeping at the time `now` (ns; 0: the clock's). Packets handled,
 * or -errno. */
int pump_step(struct wg_pump *, uint64_t now);
void pump_stop(struct wg_pump *);
uint64_t pump_clock(void); /* CLOCK_BOOTTIME, ns: goes on while the host sleeps */

#endif
