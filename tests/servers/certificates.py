"""Certificates of the test's own, made when it runs: authorities, and what they sign."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """The paths of a certificate and of its key, both PEM."""

    file: Path
    key: Path


def authority(folder: Path, name: str) -> Certificate:
    """An authority that no one knows yet."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    subject = ("-subj", f"/CN={name}", "-days", "2")
    _openssl("req", "-x509", *_EC, *subject, "-keyout", made.key, "-out", made.file)
    return made


def signed(by: Certificate, name: str, names: str) -> Certificate:
    """A certificate for names such as "DNS:localhost,IP:127.0.0.1", beside its authority."""
    folder = by.file.parent
    made, request = Certificate(folder / f"{name}.pem", folder / f"{name}.key"), folder / "request"
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")
    _openssl("req", *_EC, *subject, "-keyout", made.key, "-out", request)
    signer = ("-CA", by.file, "-CAkey", by.key, "-CAcreateserial", "-copy_extensions", "copyall")
    _openssl("x509", "-req", *signer, "-days", "2", "-in", request, "-out", made.file)
    return made


def _openssl(*words: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("openssl is not installed: run `make servers`")
    command = [program, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    if done.returncode:
        pytest.fail(f"openssl {words[0]}: {done.stderr[-500:]}")
