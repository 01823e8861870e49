"""Encodes every segment and caption once with the base model."""
