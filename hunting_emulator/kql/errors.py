"""What the service answers with status 400."""


class KqlError(Exception):
    """A query that cannot be compiled; the text is what the service would put into `message`."""
