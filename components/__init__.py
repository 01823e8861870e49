"""The steps of the pipelines. No step imports another."""
