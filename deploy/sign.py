"""Signs a file, such as an image's bill of materials, and says whether a signature is right.

ECDSA over P-256 and SHA-256, in base64, which cosign and OpenSSL read as well:
    cosign verify-blob --key seg.pub --signature sbom.cdx.json.sig sbom.cdx.json
Usage: python deploy/sign.py key seg.key                  (and seg.pub, to give away)
       python deploy/sign.py sign seg.key sbom.cdx.json   (writes sbom.cdx.json.sig)
       python deploy/sign.py verify seg.pub sbom.cdx.json
"""

import base64
import os
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

METHOD = ec.ECDSA(hashes.SHA256())


def make_key(private: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private.with_suffix(".pub").write_bytes(public)


def sign(private: Path, file: Path) -> None:
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(file.read_bytes(), METHOD)
    signature_of(file).write_bytes(base64.b64encode(signature) + b"\n")


def verify(public: Path, file: Path) -> None:
    key = serialization.load_pem_public_key(public.read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(signature_of(file).read_bytes())
    try:
        key.verify(signature, file.read_bytes(), METHOD)
    except InvalidSignature:
        sys.exit(f"{file} is not what {public} signed")


def signature_of(file: Path) -> Path:
    return file.with_name(file.name + ".sig")


if __name__ == "__main__":
    actions = {"key": (make_key, 1), "sign": (sign, 2), "verify": (verify, 2)}
    action, *paths = sys.argv[1:] or [""]
    if action not in actions or len(paths) != actions[action][1]:
        sys.exit(__doc__)
    try:
        actions[action][0](*map(Path, paths))
    except (OSError, ValueError) as error:
        sys.exit(f"{action}: {error}")
