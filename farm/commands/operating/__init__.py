"""Commands that look at a running farm, or change it, through its registry."""
