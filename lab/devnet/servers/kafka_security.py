"""Certificates, users and listeners of a secured Kafka: SASL over TLS, and mutual TLS."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lab.devnet.servers.processes import free_port

USER, PASSWORD = "arena", "arena-secret"
SCRAM_USER, SCRAM_PASSWORD = "scram", "scram-secret"
PROPERTIES = """
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
listener.name.ssl.ssl.client.auth=required
listener.name.sasl_ssl.ssl.client.auth=none
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class KafkaSecurity:
    """Files in `directory`: ca.pem, client.pem (key and certificate), and those of an untrusted authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sasl_port, self.mtls_port = free_port(), free_port()
        authority, foreign = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        foreign.cert_pem.write_to_path(self.foreign_ca)
        server = authority.issue_cert("localhost", "127.0.0.1", common_name="localhost")
        (directory / "server.pem").write_bytes(_pkcs8(server) + b"".join(c.bytes() for c in server.cert_chain_pems))
        for issuer, path in ((authority, self.client), (foreign, self.foreign_client)):
            leaf = issuer.issue_cert("client.arena", common_name="arena")
            leaf.private_key_and_cert_chain_pem.write_to_path(path)

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def foreign_ca(self) -> Path:
        return self.directory / "foreign-ca.pem"

    @property
    def client(self) -> Path:
        return self.directory / "client.pem"

    @property
    def foreign_client(self) -> Path:
        return self.directory / "foreign-client.pem"

    @property
    def sasl_address(self) -> str:
        return f"localhost:{self.sasl_port}"

    @property
    def mtls_address(self) -> str:
        return f"localhost:{self.mtls_port}"

    @property
    def listeners(self) -> str:
        return f",SASL_SSL://127.0.0.1:{self.sasl_port},SSL://127.0.0.1:{self.mtls_port}"

    @property
    def properties(self) -> str:
        return PROPERTIES.format(directory=self.directory, user=USER, password=PASSWORD)

    @property
    def format_options(self) -> tuple[str, ...]:
        """A SCRAM user is made when the storage is formatted."""
        return "--add-scram", f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"


def _pkcs8(leaf: trustme.LeafCert) -> bytes:
    """The broker cannot load trustme's own form of a key (`EC PRIVATE KEY`)."""
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
