"""Progress of steps, their failure message, and their HTML reports."""
