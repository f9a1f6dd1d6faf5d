"""HTTP: one request, one reply. This room never retries, never sleeps and decodes no rows."""
