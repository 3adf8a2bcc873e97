"""What the speed benchmark runs in each tool's own environment: one script a tool."""
