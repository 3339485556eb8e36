/*
 * The ends of the rings in the guest of @{room}: what upstream's monitor shows it as PCI devices.
 * The order is that of their addresses, and their names are those of /sys/class/uio.
 */
#include <camkes.h>
#include <camkes/dataport_caps.h>
#include <camkes/tls.h>
#include <sel4vm/guest_vm.h>
#include <sel4vmmplatsupport/drivers/cross_vm_connection.h>
#include <vmlinux.h>

#define FIRST_ADDRESS @{window}

@{externs}
static struct camkes_crossvm_connection connections[] = {
@{rows}};

static int rung(vm_t *vm, void *cookie)
{
    struct camkes_crossvm_connection *connection = cookie;

    consume_connection_event(vm, connection->consume_badge, true);
    return 0;
}

static void init_rings(vm_t *vm, void *cookie)
{
    int err = 0;

@{badges}    for (size_t i = 1; i < ARRAY_SIZE(connections) && !err; i += 2) {
        err = register_async_event_handler(connections[i].consume_badge, rung, &connections[i]);
    }
    if (!err) {
        err = cross_vm_connections_init(vm, FIRST_ADDRESS, connections, ARRAY_SIZE(connections));
    }
    ZF_LOGF_IF(err, "no rings");
}

DEFINE_MODULE(rings, NULL, init_rings)

/*
 * When a guest did what it may not, upstream's monitor gives up and spins, above every guest: one would
 * stop all. It stops itself instead. The linker puts this in the place of vm_run.
 */
int __real_vm_run(vm_t *vm);
int __wrap_vm_run(vm_t *vm);

int __wrap_vm_run(vm_t *vm)
{
    int err = __real_vm_run(vm);

    while (err) {
        seL4_TCB_Suspend(camkes_get_tls()->tcb_cap);
    }
    return err;
}
