"""Sound as arrays and files: reading, decoding, resampling, loudness, fingerprints, distances, pictures, a synthesizer."""
