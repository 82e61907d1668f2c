"""The training loop that every stage of every fit uses."""
