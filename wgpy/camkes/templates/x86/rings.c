/*
 * The ends of the rings in the guest of @{room}: what upstream's monitor shows it as PCI devices,
 * from @{window} on, in this order. All of them have the same name in /sys/class/uio.
 */
#include <camkes.h>
#include <camkes/dataport_caps.h>
#include <crossvm.h>
#include <sel4vm/guest_vm.h>
#include <sel4vmmplatsupport/drivers/cross_vm_connection.h>
#include <sel4vmmplatsupport/drivers/pci_helper.h>

@{externs}
static struct camkes_crossvm_connection connections[] = {
@{rows}};

int camkes_cross_vm_connections_init(vm_t *vm, vmm_pci_space_t *pci, seL4_CPtr irq_notification, uintptr_t connection_base_address)
{
    return cross_vm_connections_init(vm, connection_base_address, connections, ARRAY_SIZE(connections), pci, irq_notification);
}
