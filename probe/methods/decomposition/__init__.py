"""Exact decompositions: what each unit, route, gate or step contributes, in shares that sum to the whole."""
