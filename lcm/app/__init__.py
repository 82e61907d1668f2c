"""The command line, one file a command; sweeps over many fits; the explorer."""
