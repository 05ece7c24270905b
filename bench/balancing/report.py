"""The medians of every contestant, for people."""

from __future__ import annotations

from rich.table import Table

from bench.balancing.measuring import Results
from bench.measuring.figures import short
from bench.measuring.rounds import middle
from homing.farm.commands.parsing import show


def show_samples(load: str, results: Results) -> None:
    """Print what each contestant did with this load."""
    table = Table(title=f"hello with {load}, medians")
    table.add_column("balancer")
    for heading in ("CPU us", "machine us", "a second", "p50 ms", "p99 ms", "came home"):
        table.add_column(heading, justify="right")
    for name, samples in results.samples.items():
        table.add_row(
            name,
            short(middle(samples, lambda one: 1e6 * one.cpu)),
            short(middle(samples, lambda one: 1e6 * one.machine)),
            short(middle(samples, lambda one: one.rate)),
            short(middle(samples, lambda one: 1e3 * one.p50)),
            short(middle(samples, lambda one: 1e3 * one.p99)),
            f"{100 * results.home[name]:.1f} %",
        )
    show(table)
