/* The pumps of a group over the one plane. */
#ifndef PUMPS_H
#define PUMPS_H

#include "one_plane.h"
#include "core/pump.h"

/* Of a port with nothing to poll; 0 would be standard input. */
#define NO_FDS {[0 ... WG_PORT_FDS - 1] = -1}

union either_stage {
    struct wg_plane_stage base;
    struct wg_seal_stage seals;
    struct wg_open_stage opens;
};

static void pumps_init(struct wg_pump *pump, union either_stage *stage, uint32_t n, bool opens,
                       struct wg_port *source, struct wg_port *sink)
{
    memset(stage, 0, n * sizeof *stage);
    for (uint32_t i = 0; i < n; i++) {
        if (opens)
            open_stage_init(&stage[i].opens, plane, i);
        else
            seal_stage_init(&stage[i].seals, plane, i, 1420);
        CHECK(pump_init(&pump[i], source, &stage[i].base.stage, sink) == 0);
    }
}

#endif
