"""What theorem 1 is shown with: models that differ in one thing, models that only seem to, and tests of pairs."""
