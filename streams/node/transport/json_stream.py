"""Splits a byte stream without delimiters, such as a node's IPC socket, into JSON values.

A value ends where its brackets outside strings are balanced, so these are counted as they arrive, each byte once.
"""

import json
import re
from itertools import accumulate

DEPTH_CHANGE = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b'{}[]"'))
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')


class JsonStream:
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._depth = 0
        self._in_string = False
        self._escape = b""

    @property
    def size(self) -> int:
        """Bytes of values that are not whole yet."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The values, objects or arrays, that end in this chunk. Raises ValueError for what is no JSON."""
        self._buffer += chunk
        depths = [*accumulate((DEPTH_CHANGE[each] for each in self._brackets(chunk)), initial=self._depth)]
        self._depth = depths[-1]
        ended = depths[1:].count(0)
        if not ended:
            return []
        if ended == 1 and self._depth == 0:
            value, self._buffer = bytes(self._buffer), bytearray()
            return [value]
        return self._take(ended)

    def _brackets(self, chunk: bytes) -> bytes:
        """The chunk's brackets outside strings."""
        chunk = self._escape + chunk
        self._escape = b""
        if b"\\" in chunk:
            chunk = _ESCAPE.sub(b"", chunk)
            if chunk.endswith(b"\\"):
                self._escape = b"\\"
        structure = (b'"' if self._in_string else b"") + chunk.translate(None, _ALL_BUT_STRUCTURE)
        structure = _STRING.sub(b"", structure.replace(b'""', b""))
        outside, quote, _ = structure.partition(b'"')
        self._in_string = bool(quote)
        return outside

    def _take(self, count: int) -> list[bytes]:
        decode = json.JSONDecoder().raw_decode
        text, position, values = self._buffer.decode(errors="surrogateescape"), 0, []
        for _ in range(count):
            while text[position].isspace():
                position += 1
            start, position = position, decode(text, position)[1]
            values.append(text[start:position].encode(errors="surrogateescape"))
        self._buffer = bytearray(text[position:].encode(errors="surrogateescape"))
        return values
