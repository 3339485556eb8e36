"""Disposable networks in namespaces, for the demo, the tests and the benchmarks."""
