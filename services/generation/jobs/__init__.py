"""Durable jobs: kept in the store as numbered events, claimed by workers, taken over when a worker's heartbeat ends."""
