"""How twistd, Twisted's runner, is run: by this very Python, wherever its script may be."""

from __future__ import annotations

import sys

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
"""The command; its own options and a plugin follow."""

FOREGROUND = (*TWISTD, "--nodaemon", "--pidfile=")
"""The same for a process that somebody else watches."""
