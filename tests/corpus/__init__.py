"""Ingest beside FFmpeg: over any folder of sound files, over a set that is made on the spot, and over mutations of headers."""
