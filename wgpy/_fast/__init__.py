"""The per-packet path: C without Python.h, under thin Cython."""
