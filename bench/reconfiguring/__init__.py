"""What `bench/reconfigure.py` is made of: a farm, its clients, what is done to it, a picture."""
