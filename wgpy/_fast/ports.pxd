from wgpy._fast.core cimport uint32_t, wg_group, wg_port, wg_pump, wg_stage


cdef class Port:
    cdef wg_port *port
    cdef wg_pump *receiver  # the pumps that run and have it as their source, their sink
    cdef wg_pump *sender
    cdef wg_port *_made(self) except NULL


cdef class Stage:
    """What a pump runs between its ports; made by other modules."""
    cdef wg_stage *stage    # NULL: made from Python, belongs to nothing
    cdef wg_pump *runner


cdef class Pump:
    cdef wg_pump *pump
    cdef wg_group group
    cdef uint32_t ready
    cdef readonly uint32_t threads
    cdef uint32_t running   # a bit for each thread inside run or step
    cdef Port source, sink
    cdef tuple stages
    cdef int _enter(self, uint32_t) except -1
    cdef void _leave(self, uint32_t) noexcept
    cdef void _claim(self, wg_pump *) noexcept
