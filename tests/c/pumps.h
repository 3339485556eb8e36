/* The pumps of a group over the one plane. */
#ifndef PUMPS_H
#define PUMPS_H

#include "one_plane.h"
#include "pump.h"

static void pumps_init(struct wg_pump *pump, struct wg_crypto_stage *stage, uint32_t n, bool opens,
                       struct wg_port *source, struct wg_port *sink)
{
    memset(stage, 0, n * sizeof *stage);
    for (uint32_t i = 0; i < n; i++) {
        if (opens)
            open_stage_init(&stage[i], plane, i);
        else
            seal_stage_init(&stage[i], plane, i, 1420);
        CHECK(pump_init(&pump[i], source, &stage[i].stage, sink) == 0);
    }
}

#endif
