# Read by the settings.cmake of camkes-vm-examples, before anything is built.
set(KernelSel4Arch x86_64 CACHE STRING "" FORCE)
set(KernelX86_64VTX64BitGuests ON CACHE BOOL "" FORCE)

# One core: with more, rooms would share caches at the same time.
set(KernelMaxNumNodes 1 CACHE STRING "" FORCE)
@{more}
