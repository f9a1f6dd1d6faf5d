"""Synthetic rows, generated from a seed when a query reads them."""
