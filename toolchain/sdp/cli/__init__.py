"""The command line: `main` registers the commands, `commands` implements them, `render` formats their output."""
