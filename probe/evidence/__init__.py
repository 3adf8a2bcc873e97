"""The table of measurements, intervals over networks, rules and their verdicts, findings as folders."""
