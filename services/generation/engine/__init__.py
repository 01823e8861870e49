"""What turns requests into sounds: scheduling, loaded releases, adapters, quotas."""
