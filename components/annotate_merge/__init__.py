"""Merges annotations into captions and writes the dataset, which never changes afterwards."""
