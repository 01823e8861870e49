"""Merges what members heard into captions and freezes the dataset."""
