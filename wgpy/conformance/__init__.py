"""Whether a suite library keeps what wgpy_suite.h asks of it: `wgpy suite check` (F8).

The checks are a program in C, `harness`, that the compiler of the machine makes for each run, so
that who has to judge them reads what ran. Each check is a process of its own, which the library
may crash, stop or leave."""
