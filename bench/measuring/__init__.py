"""What the benchmarks share: CPU time, rounds in turn, figures beside what was asked, pictures."""
