"""What the benchmarks of balancers are made of: hellos, clients, one backend, the balancers."""
