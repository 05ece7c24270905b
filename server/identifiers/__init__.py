"""What a server gives out, and what it remembers of it."""
