/*
 * The ends of the rings in the guest of @{room}: what upstream's monitor shows it as PCI devices,
 * from @{window} on, in this order. All of them have the same name in /sys/class/uio.
 */
#include <camkes.h>
#include <camkes/dataport_caps.h>
#include <crossvm.h>
#include <sel4vm/arch/guest_x86_context.h>
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

#define HYPERVISOR 0x40000000
#define CX8 (1ul << 8)

/*
 * Upstream's monitor ends when a guest asks CPUID for a function that it does not know, and Linux looks for
 * Xen and others at 0x40000100 and on; it knows 0x40000000 and answers zeros. It hides CMPXCHG8B, which
 * the processor executes in a guest as anywhere; Debian's programs do not start where it is not shown.
 * The linker puts this in the place of vm_cpuid_handler.
 */
int __real_vm_cpuid_handler(vm_vcpu_t *vcpu);
int __wrap_vm_cpuid_handler(vm_vcpu_t *vcpu);

int __wrap_vm_cpuid_handler(vm_vcpu_t *vcpu)
{
    seL4_Word function = 0, features = 0;
    int result;

    if (vm_get_thread_context_reg(vcpu, VCPU_CONTEXT_EAX, &function)) {
        return -1;
    }
    function &= 0xffffffff;
    if (function >= HYPERVISOR && function < 2ul * HYPERVISOR) {
        vm_set_thread_context_reg(vcpu, VCPU_CONTEXT_EAX, HYPERVISOR);
    }
    result = __real_vm_cpuid_handler(vcpu);
    if (function == 1 && vm_get_thread_context_reg(vcpu, VCPU_CONTEXT_EDX, &features) == 0) {
        vm_set_thread_context_reg(vcpu, VCPU_CONTEXT_EDX, features | CX8);
    }
    return result;
}
