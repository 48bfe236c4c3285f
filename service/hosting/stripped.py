"""Takes symbols and debugging sections out of compiled modules: ``python stripped.py FOLDER``.

Run while an image is built, where there is no ``strip``, so it imports nothing of ours. What a
program is loaded from are the segments that its program headers list; sections behind the last of
them, and their table, are read by linkers and debuggers alone (System V ABI, chapter 5).
Libraries in folders ``*.libs`` are left as they are.
"""

import argparse
import shutil
import struct
from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little-endian; others are left alone."""
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")


def end_of_segments(content: bytes) -> int | None:
    """Bytes of a file that loading it needs; None where that cannot be told."""
    if not content.startswith(MAGIC) or len(content) < HEADER.size:
        return None
    _, _, _, _, _, first, _, _, _, size, count, *_ = HEADER.unpack_from(content)
    if size != SEGMENT.size or first + count * size > len(content):
        return None
    ends = [first + count * size]
    for number in range(count):
        _, _, offset, _, _, in_file, _, _ = SEGMENT.unpack_from(content, first + number * size)
        ends.append(offset + in_file)
    return max(ends) if max(ends) <= len(content) else None


def stripped(content: bytes) -> bytes:
    """A compiled module without what only linkers and debuggers read."""
    end = end_of_segments(content)
    if end is None or end == len(content):
        return content
    fields = list(HEADER.unpack_from(content))
    fields[6] = fields[12] = fields[13] = 0  # where the table of sections is, and how long
    return HEADER.pack(*fields) + content[HEADER.size : end]


def main() -> None:
    """The command: strip all modules below a folder."""
    parser = argparse.ArgumentParser(
        description="Take symbols and debugging sections out of compiled modules."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    for path in parser.parse_args().folder.rglob("*.so"):
        if any(part.endswith(".libs") for part in path.parts) or path.is_symlink():
            continue
        content = path.read_bytes()
        smaller = stripped(content)
        if len(smaller) < len(content):
            # a new file: the old one may be an installer's too, which links from its cache
            beside = path.with_suffix(".smaller")
            beside.write_bytes(smaller)
            shutil.copymode(path, beside)
            beside.replace(path)


if __name__ == "__main__":
    main()
