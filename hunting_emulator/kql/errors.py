"""The errors that the service answers with status 400."""


class KqlError(Exception):
    """A query that cannot be compiled. The text is the `message` in the error reply."""
