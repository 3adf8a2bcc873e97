"""`Recording`, the values of a run; its tables, and its files."""
