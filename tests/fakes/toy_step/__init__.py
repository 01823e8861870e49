"""A step for tests of the executor: counts the lines of a file."""
