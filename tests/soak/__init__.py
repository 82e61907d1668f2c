"""Commands that are killed and commands that race, as often as wanted: the laws of tests/test_kill.py."""
