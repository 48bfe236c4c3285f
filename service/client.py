"""The client's former place, kept for programs that name it: it lives in ``seg.client``."""

import sys

from seg import client
from seg.client.__main__ import main

__all__ = ["Answer", "Client", "Image", "ServiceError", "Wanted"]  # noqa: F822  # found late


def __getattr__(name: str) -> object:
    return getattr(client, name)


if __name__ == "__main__":
    sys.exit(main())
