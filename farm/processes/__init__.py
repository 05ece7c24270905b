"""The processes of a farm, from the command that starts one to its last child.

`run` is `homing farm`, `homing balancer` and `homing server`; `farm`, `balancer` and `server` are
what each of them runs, and `process` is what the three have in common.

A farm: `demo_farm` writes one where no farm.toml is given; `supervisor` runs it, as one `child` for
each process, with what is `inherited`; an `announcement` says that it is ready.  `supervised` is
the child's side.

In all processes: `descriptors` and `lock` before the start, `reload` and `key_watch` afterwards.

`local` runs a whole farm as one child, for measurements and tests.
"""
