# Read by the settings.cmake of camkes-vm-examples, before anything is built.
if(NOT "${PLATFORM}" STREQUAL "@{sel4}")
    message(FATAL_ERROR "PLATFORM is ${PLATFORM}: this application is for @{sel4}")
endif()

set(VmPCISupport ON CACHE BOOL "" FORCE)
set(VmVirtioConsole ON CACHE BOOL "" FORCE)
set(VmVirtioNetArping OFF CACHE BOOL "" FORCE)
# Crypto's monitor would have it, too; where black and red need it CMakeLists.txt says so.
set(VmVirtioNetVirtqueue OFF CACHE BOOL "" FORCE)
set(LibUSB OFF CACHE BOOL "" FORCE)

# One core: with more, rooms would share caches at the same time.
set(KernelMaxNumNodes 1 CACHE STRING "" FORCE)
# Linux reads the physical counter and timer.
set(KernelArmExportPCNTUser ON CACHE BOOL "" FORCE)
set(KernelArmExportPTMRUser ON CACHE BOOL "" FORCE)
# Which guests' interrupts are level-triggered.
set(KernelCustomDTSOverlay "${CMAKE_CURRENT_LIST_DIR}/overlay.dts" CACHE STRING "" FORCE)
@{more}
