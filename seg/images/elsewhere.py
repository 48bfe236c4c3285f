"""Formats that are not read, and what to do with their files."""

AS_OME_TIFF = "open it in Fiji (Bio-Formats) and save one image as OME-TIFF"
"""What to do with the files of microscopes."""

KNOWN_ELSEWHERE = (
    ((0, b"GIF8"), "a GIF file; save it as PNG"),
    ((4, b"jP  \r\n"), "a JPEG 2000 file, or an old ND2 file of Nikon; save it as TIFF"),
    ((4, b"ftyp"), "a HEIC or AVIF file; save it as PNG or JPEG"),
    ((0, b"ZISRAWFILE"), f"a CZI file of Zeiss; {AS_OME_TIFF}"),
    ((0, b"\x70\0\0\0"), f"a LIF file of Leica; {AS_OME_TIFF}"),
    ((0, b"\xda\xce\xbe\x0a"), f"an ND2 file of Nikon; {AS_OME_TIFF}"),
    ((0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), f"an OIB or ZVI file; {AS_OME_TIFF}"),
    ((0, b"\x89HDF\r\n\x1a\n"), f"an HDF5 file (.h5, .ims, MINC 2); {AS_OME_TIFF}"),
    ((0, b"CDF"), "a MINC file; convert it with mnc2nii"),
    ((0, b"BZh"), "a file packed by bzip2; unpack it, or pack it by gzip"),
    ((0, b"\xfd7zXZ\0"), "a file packed by xz; unpack it, or pack it by gzip"),
    ((0, b"\0\0\0\1"), "an MGH file of FreeSurfer; convert it with mri_convert to .nii.gz"),
    ((208, b"MAP "), f"an MRC file; {AS_OME_TIFF}"),
    ((8, b"AVI "), "an AVI film; send its frames one by one"),
    ((0, b"P5"), "a PGM picture; save it as PNG"),
    ((0, b"P6"), "a PPM picture; save it as PNG"),
    *(
        (
            (0, size),
            "the header of an Analyze file, which does not say left from right; convert it to "
            ".nii.gz with what wrote it",
        )
        for size in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")
    ),
    ((0, b"%PDF"), "a PDF document; save the picture in it as PNG"),
)


def known_elsewhere(head: bytes) -> str | None:
    """What a file is that begins so, and what to do with it; None where nobody here knows."""
    for (at, word), what in KNOWN_ELSEWHERE:
        if head[at : at + len(word)] == word:
            return what
    return None
