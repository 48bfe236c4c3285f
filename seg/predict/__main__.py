"""``python -m seg.predict``."""

import sys

from seg.predict.command import main

if __name__ == "__main__":
    sys.exit(main())
