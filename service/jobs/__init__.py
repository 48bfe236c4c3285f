"""Segmentations that take longer than a request may: kept, taken up again, answered later.

``records`` say what a job is, ``store`` keeps them in a database and ``files`` their images and
answers in a folder or object store; ``runner`` does the work and ``routes`` speak HTTP.
"""
