"""The command line, one file a command, and sweeps over many fits."""
