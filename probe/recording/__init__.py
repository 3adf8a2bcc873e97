"""The values of a run as one frozen value: `Recording`, its tables, and its files."""
