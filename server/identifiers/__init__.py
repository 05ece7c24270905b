"""The identifiers that a server gives out, and what it keeps for those who bring them back."""
