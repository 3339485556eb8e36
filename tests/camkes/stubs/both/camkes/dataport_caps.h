/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_DATAPORT_CAPS_H
#define STUB_DATAPORT_CAPS_H

typedef struct dataport_caps_handle dataport_caps_handle_t;

#endif
