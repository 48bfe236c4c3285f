"""Bytes of a connection that came and were not parsed yet."""

from collections import deque


class Unparsed:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._blocks: deque[memoryview] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, block: bytes) -> None:
        """Some more."""
        if block:
            self._blocks.append(memoryview(block))

    def piece(self, most: int) -> memoryview:
        """The next of them, so many at most."""
        block = self._blocks.popleft()
        if len(block) > most:
            self._blocks.appendleft(block[most:])
        return block[:most]

    def head(self, size: int) -> bytes:
        """The first of them, so many at most, as far as they came at once."""
        return bytes(self._blocks[0][:size])

    def has_few(self, mark: bytes, within: int) -> bool:
        """Whether a mark is there once at most in the next so many bytes."""
        return bytes(self._blocks[0][:within]).count(mark) <= 1

    def clear(self) -> None:
        """Forget them."""
        self._blocks.clear()
