"""What is measured about the project itself: speed, memory, robustness to damage, tests that notice defects."""
