"""``python -m skdisentangle`` is the command ``skdisentangle``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
