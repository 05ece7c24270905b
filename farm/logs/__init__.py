"""The log of a process: its lines, where they go, and the thread that writes them."""
