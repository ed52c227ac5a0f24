"""Whether the address that a worker advertises can be reached by the other members of its group. Pure."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit


def advertising_problem(own_url: str, urls: Mapping[int, str], assigned: Collection[int]) -> str | None:
    """A sentence; None where all is well. `urls` are of each partition's owner, `assigned` this worker's partitions."""
    if shared := sorted(index for index, url in urls.items() if url == own_url and index not in assigned):
        return (
            f"another worker advertises {own_url} too, for partitions {shared}: requests for them cannot be forwarded; "
            "set ARENA_WEB_ADVERTISED to the address at which the others reach each worker"
        )
    hidden = sorted({url for url in {own_url, *urls.values()} if _is_loopback(url)})
    remote = sorted({url for url in {own_url, *urls.values()} if not _is_loopback(url)})
    if hidden and remote:
        return (
            f"{hidden[0]} cannot be reached by the worker at {remote[0]}: it is a loopback address; "
            "set ARENA_WEB_ADVERTISED to an address that the others reach"
        )
    return None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
