"""The scores: in which order the verbs are played."""
