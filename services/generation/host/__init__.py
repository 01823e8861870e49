"""BentoML's service and its process."""
