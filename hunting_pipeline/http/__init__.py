"""One request, one reply: the only room that speaks HTTP. It never retries, sleeps or decodes rows."""
