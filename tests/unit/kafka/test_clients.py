"""How the settings of Kafka become the options of its clients."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from settings import Settings
from streams.kafka import clients
from streams.kafka.clients import CompressionMissing, InsecureKafka, client_options, tls_context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, both.pem (key and certificate), certificate.pem, key.pem, encrypted.pem."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", common_name="arena")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    leaf.private_key_and_cert_chain_pem.write_to_path(directory / "both.pem")
    leaf.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (directory / "encrypted.pem").write_bytes(sealed)
    return directory


def configured(**changes: Any) -> Settings:
    return Settings(**changes)


def test_without_tls_and_password_clients_connect_in_clear() -> None:
    options = client_options(configured(kafka="broker:9092"))

    assert (options["security_protocol"], options["ssl_context"]) == ("PLAINTEXT", None)


def test_tls_trusts_the_system_where_no_authority_is_named() -> None:
    context = tls_context(configured(kafka_tls=True))

    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_named_authority_implies_tls_and_is_the_only_one_trusted(files: Path) -> None:
    options = client_options(configured(kafka_tls_ca=files / "ca.pem", kafka_username="arena", kafka_password="secret"))

    assert options["security_protocol"] == "SASL_SSL"
    assert len(options["ssl_context"].get_ca_certs()) == 1


@pytest.mark.parametrize(("certificate", "key"), [("both.pem", None), ("certificate.pem", "key.pem")])
def test_a_client_certificate_may_hold_its_key_or_name_it(files: Path, certificate: str, key: str | None) -> None:
    named = configured(kafka_tls_certificate=files / certificate, kafka_tls_key=None if key is None else files / key)

    assert client_options(named)["security_protocol"] == "SSL"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kafka_tls_ca": "absent.pem"}, "ARENA_KAFKA_TLS_CA"),
        ({"kafka_tls_ca": "key.pem"}, "ARENA_KAFKA_TLS_CA"),
        ({"kafka_tls_certificate": "certificate.pem"}, "ARENA_KAFKA_TLS_CERTIFICATE"),
        ({"kafka_tls_certificate": "certificate.pem", "kafka_tls_key": "encrypted.pem"}, "ARENA_KAFKA_TLS_KEY"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(files: Path, changes: dict[str, str], named: str) -> None:
    with pytest.raises(InsecureKafka, match=named):
        tls_context(configured(**{name: files / file for name, file in changes.items()}))


async def test_a_compression_that_is_not_installed_is_refused_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "has_zstd", lambda: False)

    with pytest.raises(CompressionMissing, match="ARENA_KAFKA_COMPRESSION=zstd needs the Python package cramjam"):
        clients.producer(configured(kafka_compression="zstd"), compressed=True)


@pytest.mark.parametrize("server", ["broker:9092", "10.0.0.7:9092", "127.0.0.1:9092,broker:9092", "[2001:db8::1]:9092"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_password_is_not_sent_in_clear_to_another_machine(server: str, mechanism: str) -> None:
    open_to_all = configured(
        kafka=server, kafka_username="arena", kafka_password="hidden", kafka_sasl_mechanism=mechanism
    )

    with pytest.raises(InsecureKafka, match="would go in clear to") as refused:
        client_options(open_to_all)

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("server", ["localhost:9092", "127.0.0.1:9092", "[::1]:9092", "127.0.0.1:1, localhost:2"])
def test_a_password_in_clear_is_accepted_on_loopback(server: str) -> None:
    options = client_options(configured(kafka=server, kafka_username="arena", kafka_password="secret"))

    assert options["security_protocol"] == "SASL_PLAINTEXT"
