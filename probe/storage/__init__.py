"""Files that are written whole or not at all, and that say their own digest."""
