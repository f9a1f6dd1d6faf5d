"""The hunting APIs: where each is reached, what it demands and how it replies."""
