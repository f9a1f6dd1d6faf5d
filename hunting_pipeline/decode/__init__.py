"""Decoding of replies: bytes to Arrow. All types come from the reply's own Schema; no type is guessed.

source   the chunks of a body, up to a limit, as bytes or as text
text     exact JSON: keeps number tokens and the order of keys; canonical text of dynamic values
kinds    a table: wire type → Kusto type, Arrow type and the function that reads one value
exact    rows → Arrow, one value at a time: the reference for the fast path
scan     rows of JSON → cells, compiled; stops at the first row that needs the exact path
fast     blocks of rows → Arrow, with scan; the exact path reads all other values and rows
reply    the envelope, and the only loop over rows
"""

from hunting_pipeline.decode.reply import decode

__all__ = ["decode"]
