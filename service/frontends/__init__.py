"""Front ends: other programs' own HTTP contracts, each translated to the service's requests.

Off until ``SEG_FRONTENDS`` names them. None segments, counts or logs by itself.
"""
