"""The one exception tree.

SegError
├── ConfigError             a plan, a network or an option that cannot work
├── DatasetError            a folder of images and masks that cannot be trained on
│   └── RegistryError           a dataset's package that the registry does not give
├── ImageError              bytes that are not the image they should be
│   ├── UnsupportedImageError   a format, or a format for this kind of image, that is not known
│   └── ImageTooLargeError      more pixels than the limit allows
├── ArchiveError            an archive (a PACS) that does not do what it was asked
│   ├── ArchiveAwayError        it may do so later
│   └── NotInArchiveError       it has no such series
├── PackageError            a model package that is incomplete, altered or of another version
└── BackendError            an execution provider that is missing or gave a wrong answer
    ├── DeviceMemoryError       a device has no room for a run
    └── OtherAnswerError        it answers, but not what the package's golden samples say

Every message says what was expected, what came, and, where it is known, what to do.
"""


class SegError(Exception):
    """Base of all errors that a user can cause and repair."""


class ConfigError(SegError):
    """A plan, a network or an option that cannot work."""


class DatasetError(SegError):
    """A dataset folder that cannot be trained on."""


class RegistryError(DatasetError):
    """A dataset's package that the registry does not give, for lack of a network or of the file."""


class ImageError(SegError):
    """Bytes that are not the image they should be."""


class UnsupportedImageError(ImageError):
    """A format that is not known, or that cannot hold this kind of image."""


class ImageTooLargeError(ImageError):
    """An image with more pixels than the limit allows, refused before they are decoded."""


class ArchiveError(SegError):
    """An archive of images (a PACS) that does not do what it was asked."""


class ArchiveAwayError(ArchiveError):
    """It does not answer now, and may do so later."""

    def __init__(self, message: str, again_s: float | None = None) -> None:
        """Say what happened.

        Args:
            message: a sentence.
            again_s: seconds after which it wants to be asked again, where it says so.
        """
        super().__init__(message)
        self.again_s = again_s


class NotInArchiveError(ArchiveError):
    """It has no such series."""


class PackageError(SegError):
    """A model package that is incomplete, altered or of another version."""


class BackendError(SegError):
    """An execution provider that is missing or gave a wrong answer."""


class DeviceMemoryError(BackendError):
    """A device has no room for a run, at this moment."""


class OtherAnswerError(BackendError):
    """It answers, but not what the package's golden samples say: a CPU will say so again."""
