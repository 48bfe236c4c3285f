"""Files that uploads have open, over all requests of this process."""

import resource

from service.problems.response import Problem

SHARE = 4
"""Of the files that this process may have open, uploads may have one part in so many."""


class OpenFiles:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, count: int = 1) -> None:
        """One more, or some fewer.

        Raises:
            Problem: 503, there are too many.
        """
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if count > 0 and most != resource.RLIM_INFINITY and self.count + count > most // SHARE:
            raise Problem(
                503, "too many files are being uploaded; try again later", {"Retry-After": "5"}
            )
        self.count += count


OPEN_FILES = OpenFiles()
