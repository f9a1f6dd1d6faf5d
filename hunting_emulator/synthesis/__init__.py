"""Seeded rows that exist only when a query asks for them."""
