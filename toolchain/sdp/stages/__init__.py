"""The stages of the pipeline, one module each, each with one entry: `run(recipe, run, target, reporter)`."""
