"""Imports recordings: checks consent and licence, decodes each file once, describes it, stores it under its hash."""
