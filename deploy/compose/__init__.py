"""Keys of the services under compose."""
