"""What scripts/benchmark.py runs: the driver, its rows, and the programs that are measured."""
