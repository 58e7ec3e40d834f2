"""``python -m mmdiff`` is the command ``mmdiff``."""

import sys

from mmdiff.cli import main

if __name__ == "__main__":
    sys.exit(main())
