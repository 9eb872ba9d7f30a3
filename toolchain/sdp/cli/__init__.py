"""The command line: `main` holds every command, `commands` one module each, `render` what they print."""
