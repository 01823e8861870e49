"""A step room of our own for testing the door: counts the lines of a file."""
