"""Which published networks open, by adapters: `python -m benchmarks.opens` writes docs/opens.md."""
