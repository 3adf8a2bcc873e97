"""Readers of weight layouts, one module a framework: arrays by name become recurrent layers in torch's order."""
