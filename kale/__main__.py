"""`python -m kale` is the `kale` command."""

import sys

from kale_nb.cli import main

if __name__ == "__main__":
    sys.exit(main())
