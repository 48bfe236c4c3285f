"""A client of the service: ``pip install --editable '.[client]'`` in a clone.

Usage::

    with Client("http://127.0.0.1:3000") as client:
        client.segment("cell.png").save("mask.png")
        job = client.submit("scan.nii.gz", format="nifti")
        for status in client.follow(job):
            print(status.progress, status.seconds_left)
        client.result(job).save("mask.nii.gz")

Names of files are not sent.
"""

from typing import TYPE_CHECKING

from seg.late import late_names

if TYPE_CHECKING:
    from seg.client.answers import Answer, ServiceError
    from seg.client.client import Client
    from seg.client.wanted import Image, Wanted

__all__ = ["Answer", "Client", "Image", "ServiceError", "Wanted"]

__getattr__ = late_names(__name__, "wanted", "answers", "client")
