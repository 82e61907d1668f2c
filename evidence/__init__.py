"""Everything that the README and docs/ measure, made again by one command from one version of the code.

The parts and their order are in `parts`; what each depends on is found by `dependencies`; `runner` runs those that are
missing or stale, and `fill` writes their numbers into the documents. Only the tools of development import this package.
"""
