"""Turns a trainer's checkpoint into weights for generation."""
