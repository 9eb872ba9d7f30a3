"""The `sdp` command, and `python -m sdp`, the form that torchrun starts."""

import gc
import signal
import sys

# Objects between two collections. With Python's 700, a fifth of the time until torch and transformers are loaded is
# spent going over what they keep.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Load the command line and run it; a Ctrl-C before a command has begun ends it as one later does."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from sdp.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was under way\n")
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
