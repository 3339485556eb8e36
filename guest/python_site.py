"""Python of a guest: libraries are found by name where nothing is that could look for them
(ldconfig, a compiler)."""

import ctypes.util

ctypes.util.find_library = {"c": "libc.so.6", "seccomp": "libseccomp.so.2"}.get
