"""What a request must be like before a page of the studio answers it: its sender, its origin, its size, and whose page it is about."""
