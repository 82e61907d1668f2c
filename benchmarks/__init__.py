"""What is timed, and how: `make bench`; docs/benchmarks.md."""
