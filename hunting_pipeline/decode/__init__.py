"""Reply bytes to Arrow, under the types that the reply's own Schema names; nothing is guessed.

source   chunks of the body, counted against a ceiling, as bytes or as growing text
text     exact JSON: number tokens kept as written, pairs kept in order, dynamic values made canonical
kinds    one table: wire type → Kusto type, Arrow type and the exact reading of one value
exact    rows → Arrow, one value at a time; the authority
scan     rows of JSON → cells, compiled; stops at the first row of which it is not sure
fast     blocks of rows → Arrow, by scan; whatever that leaves goes to the exact reading
reply    the envelope and the only loop
"""

from hunting_pipeline.decode.reply import decode

__all__ = ["decode"]
