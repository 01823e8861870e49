"""What steps tell while they run and when they are done: progress, HTML reports."""
