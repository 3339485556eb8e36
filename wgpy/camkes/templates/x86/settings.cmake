# Read by the settings.cmake of camkes-vm-examples, before anything is built.
set(KernelSel4Arch x86_64 CACHE STRING "" FORCE)
set(KernelX86_64VTX64BitGuests ON CACHE BOOL "" FORCE)
# Linux measures its clock by another channel of the timer that is to tick, and in upstream's monitor it stops ticking.
set(LibSel4VMMUseHPET ON CACHE BOOL "" FORCE)

# One core: with more, rooms would share caches at the same time.
set(KernelMaxNumNodes 1 CACHE STRING "" FORCE)
@{more}
