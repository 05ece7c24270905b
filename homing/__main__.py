"""The `homing` command."""

import signal
import sys


def main() -> int:
    """Run the command; returns its exit status.

    While it starts, Ctrl-C ends the process at once and without a traceback, as a shell's own
    commands end.  `homing.farm.processes.run.interruptible` is called when there is more to do.
    SIGHUP waits: a process reads its configuration again once it has started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from homing.farm.commands import main as command  # takes most of the time

    return command()


if __name__ == "__main__":
    sys.exit(main())
