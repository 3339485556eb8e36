from wgpy._fast.core cimport wg_port, wg_pump, wg_stage


cdef class Port:
    cdef wg_port *port


cdef class Stage:
    """What a pump runs between its ports; made by other modules."""
    cdef wg_stage *stage


cdef class Pump:
    cdef wg_pump *pump
    cdef object source, stage, sink
    cdef bint running
