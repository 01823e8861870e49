"""Registers a release with its lineage, card and notice."""
