"""The pipeline: its stages in order, the runner, fingerprints, the run folder, and the files that stages store."""
