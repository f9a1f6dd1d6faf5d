"""HTTP: one request, one reply. This package does not retry, does not sleep and does not decode rows."""
