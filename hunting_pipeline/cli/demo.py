"""placeholder"""


def run(*, rows: int, as_json: bool) -> None:
    """placeholder"""
