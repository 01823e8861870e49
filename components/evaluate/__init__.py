"""Measures how near the model is to the group's sound, and how far from copying it."""
