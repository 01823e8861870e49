"""`python -m audiotune.store.bootstrap`, the name of `audiotune.store.setup` until 0.1; charts and compose files of then call it."""

import sys

from audiotune.store.setup import main

if __name__ == "__main__":
    sys.exit(main())
