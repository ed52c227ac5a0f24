"""The NATS servers of the settings: addresses, credentials and TLS."""

from ipaddress import ip_address
from ssl import SSLContext, create_default_context
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from settings import Settings


class InsecureNats(Exception):
    """The TLS files of the settings cannot be used."""


class NatsServer(NamedTuple):
    url: str
    """Without credentials."""
    address: str
    user: str | None
    password: str | None
    """Without a user: a token."""
    needs_tls: bool
    """The settings or the address ask for TLS."""

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False


def nats_servers(settings: Settings) -> list[NatsServer]:
    """In the order of ARENA_NATS. Credentials in an address go before those of the settings."""
    password = None if settings.nats_password is None else settings.nats_password.get_secret_value()
    needs_tls = settings.nats_tls or settings.nats_tls_ca is not None or settings.nats_tls_certificate is not None
    servers = []
    for given in filter(None, (each.strip() for each in settings.nats.get_secret_value().split(","))):
        parts = urlsplit(given if "://" in given else f"nats://{given}")
        address = parts.netloc.rpartition("@")[2]
        user, secret = settings.nats_user, password
        if parts.username is not None:
            user, secret = unquote(parts.username), unquote(parts.password or "")
            if parts.password is None:
                user, secret = None, user
        url = parts._replace(netloc=address).geturl()
        servers.append(NatsServer(url, address, user, secret, needs_tls or parts.scheme in ("tls", "wss")))
    return servers


def server_addresses(settings: Settings) -> str:
    """Without credentials."""
    return ",".join(server.address for server in nats_servers(settings))


def tls_context(settings: Settings) -> SSLContext:
    """Also for servers that are not asked for TLS: they can require it. Raises InsecureNats."""
    try:
        context = create_default_context(cafile=settings.nats_tls_ca)
        if settings.nats_tls_certificate is not None:
            # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(settings.nats_tls_certificate, settings.nats_tls_key, password="")
    except OSError as error:  # SSLError too
        raise InsecureNats(f"the TLS files for NATS cannot be used ({_files(settings)}): {error}") from error
    return context


def _files(settings: Settings) -> str:
    named = {
        "ARENA_NATS_TLS_CA": settings.nats_tls_ca,
        "ARENA_NATS_TLS_CERTIFICATE": settings.nats_tls_certificate,
        "ARENA_NATS_TLS_KEY": settings.nats_tls_key,
    }
    return ", ".join(f"{name}={path}" for name, path in named.items() if path is not None)
