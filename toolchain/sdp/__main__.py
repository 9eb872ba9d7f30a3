"""The `sdp` command, and `python -m sdp`, the form that torchrun starts."""

import signal
import sys


def main() -> None:
    """Load the command line and run it; a Ctrl-C before a command has begun ends it as one later does."""
    try:
        from sdp.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was under way\n")
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
