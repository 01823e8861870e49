"""What puts the house on a cluster. Nothing in here is part of the wheel."""
