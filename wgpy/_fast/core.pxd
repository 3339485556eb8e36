"""The C core's batches, ports, stages and pumps, for both extension modules."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "core/wg.h" nogil:
    enum: WG_BATCH_PACKETS, WG_QUEUES_MAX, WG_NO_PEER, WG_PACKET_MAX, WG_KEY, WG_TAG, WG_HEADER, WG_TAILROOM, WG_HANDSHAKE_MAX
    const uint64_t WG_REJECT_AFTER_TIME
    ctypedef uint64_t wg_counter
    uint64_t counted(const wg_counter *)
    void wipe(void *, size_t)

cdef extern from "core/lengths.h" nogil:
    struct wg_lengths:
        uint32_t initiation, response, cookie_reply, overhead

cdef extern from "core/batch.h" nogil:
    enum: WG_DROP_COUNT, WG_SOURCE_NONE, WG_SOURCE_KNOWN
    struct wg_endpoint:
        uint8_t family
        uint8_t source
        uint16_t port
        uint32_t scope
        uint32_t ifindex
        uint8_t addr[16]
        uint8_t local[16]
    struct wg_batch:
        wg_counter drops[1]

cdef extern from "core/port.h" nogil:
    struct wg_port:
        void *receive
        void *send
        wg_counter packets_in, packets_out, bytes_in, bytes_out, calls_in, calls_out
    struct wg_stage:
        void *run

cdef extern from "core/pump.h" nogil:
    struct wg_pump:
        wg_batch batch
        wg_counter batches, sleeps
    struct wg_group:
        uint32_t n
    void group_init(wg_group *, wg_pump *, uint32_t)
    void group_free(wg_group *)
    int pump_init(wg_pump *, wg_port *, wg_stage *, wg_port *)
    void pump_free(wg_pump *)
    int pump_run(wg_pump *)
    int pump_step(wg_pump *, uint64_t)
    void pump_stop(wg_pump *)
    uint64_t pump_clock()
