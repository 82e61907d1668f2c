"""What must hold before a release; not installed."""
