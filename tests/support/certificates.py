"""A certificate authority for one test, and what it issues."""

from pathlib import Path

import trustme


class Certificates:
    """PEM files of an authority, and of leaves that it issued."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Certificate and key."""
        leaf = self._authority.issue_cert(*names)
        certificate, key = (self._directory / f"{names[0]}.{kind}.pem" for kind in ("certificate", "key"))
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key
