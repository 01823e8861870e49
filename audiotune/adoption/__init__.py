"""What comes from outside the group, and what goes out to other programs: adapters; and the command that adopts a whole training."""
