"""Models that are given less than pairs: what representation learning does without them."""
