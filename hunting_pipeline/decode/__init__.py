"""Reply bytes to Arrow, under the types that the reply's own Schema names; nothing is guessed.

source   chunks of the body, counted against a ceiling, as bytes or as growing text
text     exact JSON: number tokens kept as written, pairs kept in order, dynamic values made canonical
kinds    one table: wire type → Kusto type, Arrow type and the exact reading of one value
exact    rows → Arrow, one value at a time; the authority
fast     a block of rows → Arrow by a vectorised parser; None on any doubt
reply    the envelope, the cutting into blocks and the only loop
"""

from hunting_pipeline.decode.reply import decode

__all__ = ["decode"]
