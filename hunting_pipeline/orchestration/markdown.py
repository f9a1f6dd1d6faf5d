"""Text from outside in Dagster's UI. Only this module writes Markdown from such text.

Dagster renders descriptions and Markdown metadata: a browser fetches their images, and their links can be
followed. Other people write the values of rows, such as the subject of an e-mail, and the service chooses its
column names and messages. All of them must appear as text.
"""

import re

import dagster as dg

__all__ = ["code_block", "plain", "unlinked"]

_SPECIAL = re.compile(r"[\\`*_\[\]<>&~|]")
"""The characters that begin or end something other than text, at any place."""

_BLOCK = re.compile(r"^(\d*)([-+#=.)])")
"""The beginning of a list, a heading or a line, at the start of a text."""

_LINK = re.compile(r"://|www\.|@", re.IGNORECASE)
"""The part of a word that makes a link of it. No escape prevents this link, only code does."""


def plain(text: str) -> str:
    """Return Markdown that shows a text and nothing else, as one paragraph. Addresses appear as code."""
    return _BLOCK.sub(r"\1\\\2", " ".join(map(_word, text.split())))


def code_block(text: str, *, language: str = "", above: str = "") -> dg.MetadataValue:
    """Return metadata that shows a text unchanged, as code.

    Args:
        text: the text, of any number of lines.
        language: the language for the highlighting of the code.
        above: Markdown of this package, such as an image. It is shown above the code.
    """
    fence = _fence(text, shortest=3)
    return dg.MetadataValue.md(f"{above}\n\n{fence}{language}\n{text}\n{fence}".lstrip())


def unlinked(text: str) -> str:
    """Return a text for the log of a run. Dagster makes links of URLs, so `http://` becomes `http[:]//`."""
    return re.sub(r"(https?):(?=//)", r"\1[:]", text, flags=re.IGNORECASE)


def _word(word: str) -> str:
    if _LINK.search(word):
        fence = _fence(word, shortest=1)
        return f"{fence} {word} {fence}"
    return _SPECIAL.sub(r"\\\g<0>", word)


def _fence(text: str, *, shortest: int) -> str:
    """Return more backticks than the text has in one place, so the text cannot end the code."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(shortest, longest + 1)
