"""The learned forecast: rows to learn from, a network, its training and its judges."""
