"""Cuts recordings into segments in one streaming pass; a segment is a reference, rendered once."""
