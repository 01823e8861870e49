"""What listeners and members meet: the generation service and the studio."""
