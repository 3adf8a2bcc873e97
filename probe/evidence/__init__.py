"""Tables of measurements, intervals over networks, rules that are fixed before results, and verdicts."""
