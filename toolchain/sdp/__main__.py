"""`python -m sdp`: the command line, in the form that torchrun starts."""

from sdp.cli import main

if __name__ == "__main__":
    main()
