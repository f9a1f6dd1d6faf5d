"""I/O managers: how assets read tables from the lake and store computed tables there."""
