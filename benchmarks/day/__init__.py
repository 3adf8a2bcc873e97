"""What a day with the library costs; `python -m benchmarks.day` prints it."""
