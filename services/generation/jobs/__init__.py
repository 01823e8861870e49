"""Jobs that survive: kept in the store as numbered events, claimed by workers, taken over when a worker falls silent."""
