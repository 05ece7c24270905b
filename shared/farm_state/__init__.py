"""The farm's state as the registry has it: its values, their keys, and a view of all of them."""
