"""`python -m kale_nb` is `kale`."""

import sys

from kale_nb.cli import main

if __name__ == "__main__":
    sys.exit(main())
