from wgpy._fast.core cimport uint32_t, wg_group, wg_port, wg_pump, wg_stage


cdef class Port:
    cdef wg_port *port


cdef class Stage:
    """What a pump runs between its ports; made by other modules."""
    cdef wg_stage *stage


cdef class Pump:
    cdef wg_pump *pump
    cdef wg_group group
    cdef uint32_t ready
    cdef readonly uint32_t threads
    cdef object keep
