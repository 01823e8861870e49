"""Measures how similar the model's sounds are to the recordings, and whether it copies them."""
