"""The `homing` command."""

import sys

from homing.farm.commands import main

if __name__ == "__main__":
    sys.exit(main())
