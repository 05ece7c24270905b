"""Farm 100: farm.toml, the demo farm and the `homing` command.  Knows balancer and servers both."""
