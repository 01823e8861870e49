"""Trains the base model on the group's latents, resumable to the bit."""
