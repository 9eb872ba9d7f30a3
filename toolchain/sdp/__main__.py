"""The `sdp` command, and `python -m sdp`, the form that torchrun starts."""

import signal
import sys


def main() -> None:
    """Load the command line and run it; a Ctrl-C while it loads ends it as one later does."""
    try:
        from sdp.cli import main as command_line
    except KeyboardInterrupt:
        sys.stderr.write("stopped before anything began\n")
        sys.exit(128 + signal.SIGINT)
    command_line()


if __name__ == "__main__":
    main()
