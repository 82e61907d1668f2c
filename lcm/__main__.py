"""`python -m lcm` is `lcm`."""

import sys

from lcm.app.cli import main

sys.exit(main())
