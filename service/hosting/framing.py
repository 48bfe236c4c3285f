"""What a body costs beside its content: sizes and extensions of chunks, trailers.

A parser takes them for nothing and keeps them, or passes them over without end. So bytes that are
no content are counted, and have as long as the head of a request.
"""

MAX_FRAMING_BYTES = 64 * 1024
"""Of the head, of trailers, and of extensions of chunks of a request."""
FREE_CHUNKS = 1 << 16
USUAL_CHUNK = 64
"""Bytes that further chunks have on average, at least."""
PLAIN_CHUNK = 12
"""Bytes at either end of a chunk's content without extensions: digits and an end of a line."""


class Framing:
    """Counts, for one body after the other."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, received: int = 0) -> None:
        """A body begins, behind a head that counts as well."""
        self._received, self._content, self.chunks = received, 0, 0
        self._in_trailers = False
        self._came_on = False

    def received(self, size: int) -> None:
        """So many bytes are about to be parsed."""
        self._received += size
        self._came_on = False

    def content(self, size: int) -> None:
        """So many of them are content."""
        self._content += size
        self._came_on = True

    def chunk(self) -> None:
        """A chunk begins, or has ended."""
        self.chunks += 1
        self._came_on = True

    def trailer(self) -> None:
        """One came."""
        self._in_trailers = True

    @property
    def is_too_large(self) -> bool:
        """More came beside the content than a body needs."""
        spent = self._received - self._content - PLAIN_CHUNK * self.chunks
        return spent > MAX_FRAMING_BYTES

    @property
    def is_too_fine(self) -> bool:
        """It comes in so many chunks that each byte costs as much as a hundred others."""
        return self.chunks // 2 > FREE_CHUNKS + self._content // USUAL_CHUNK

    @property
    def is_within_a_line(self) -> bool:
        """What was parsed last brought the body no further."""
        return self._in_trailers or not self._came_on
