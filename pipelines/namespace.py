"""`python -m pipelines.namespace`: see pipelines/cluster/namespace.py."""

import sys

from pipelines.cluster.namespace import main

if __name__ == "__main__":
    sys.exit(main())
