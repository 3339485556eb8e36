set(KernelArmCPU cortex-a53 CACHE STRING "" FORCE)
set(ARM_CPU cortex-a53 CACHE STRING "" FORCE)
set(QEMU_MEMORY "@{megabytes}")
