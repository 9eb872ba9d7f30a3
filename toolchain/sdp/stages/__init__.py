"""The stages of the pipeline, one module each, each with one entry: `run(context)`."""
