"""What is timed, and how: `make bench`."""
