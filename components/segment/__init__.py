"""Cuts recordings into segments and renders each segment once."""
