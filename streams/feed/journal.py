"""The feed's journal on disk: after a restart the feed continues with the next block and with the filters it had.

Each emitted block is a line; reading stops at the first torn or foreign line. With no valid line the feed starts at the
chain's head and logs why. Errors of these files never stop the feed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from protocols.registry import dex_of
from protocols.types import PoolId, ProtocolName
from settings import Settings
from streams.exex.bincode import BadFrame
from streams.exex.control import Decoder
from streams.exex.control_encoder import encode
from streams.exex.control_messages import PoolUpdate
from streams.feed.blocks import FeedBlock
from streams.json_input import decode_json
from streams.node.blocks import NodeHeader

log = logging.getLogger(__name__)

KEPT_BLOCKS = 256


class JournalHeader(msgspec.Struct, frozen=True, tag="of"):
    chain: str
    genesis: str
    """The hash of block 0: distinguishes a restarted development chain from the one before."""


class EmittedBlock(msgspec.Struct, frozen=True, tag="told"):
    header: NodeHeader
    frames: bytes
    """The block's updates in the control protocol."""


class Rewind(msgspec.Struct, frozen=True, tag="back"):
    """A reorg: the blocks after the one with the hash `to` are no longer on the chain."""

    to: str


class FilterSet(msgspec.Struct, frozen=True):
    """Which logs are emitted."""

    pools: dict[PoolId, ProtocolName | None] = {}
    """None: the whitelist does not say the protocol."""
    managers: dict[PoolId, str] = {}
    """V4 pools: the address of the PoolManager."""

    def __post_init__(self) -> None:
        """Raises UnknownProtocol, which msgspec turns into its ValidationError."""
        for name in {name for name in self.pools.values() if name is not None}:
            dex_of(name)


class ActiveFilter(msgspec.Struct, frozen=True, rename={"filters": "watched"}):
    from_block: int
    """The first block emitted with these filters."""
    filters: FilterSet


Line = JournalHeader | EmittedBlock | Rewind

_line_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_filter_decoder: msgspec.json.Decoder[ActiveFilter] = msgspec.json.Decoder(ActiveFilter)


class Journal:
    def __init__(self, settings: Settings, kept_blocks: int = KEPT_BLOCKS) -> None:
        name = f"exex-{settings.chain}-{settings.exex_socket.stem}"
        self._path = settings.data / f"{name}.journal"
        self._filter_path = settings.data / f"{name}.list"
        self._chain = settings.chain
        self._kept_blocks = kept_blocks
        self._genesis: str | None = None
        self._line_count = 0
        self._is_failing = False

    def load(self, genesis: str) -> list[FeedBlock]:
        """The kept blocks, ascending, each the parent of the next. `genesis`: the hash of block 0."""
        self._genesis = genesis
        blocks = self._read_valid_blocks()[-self._kept_blocks :]
        self.rewrite(blocks)
        return blocks

    def load_filter(self) -> ActiveFilter | None:
        try:
            return decode_json(_filter_decoder, self._filter_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, the feed waits for the whitelist on NATS: %s", self._filter_path, error)
            return None

    def save_filter(self, active: ActiveFilter) -> None:
        self._replace(self._filter_path, msgspec.json.encode(active))

    def add(self, blocks: Sequence[FeedBlock], kept: Sequence[FeedBlock], ancestor: str | None = None) -> None:
        """`kept`: all blocks kept now, the last of them `blocks`. `ancestor`: its hash, in a reorg."""
        added: list[Line] = [Rewind(ancestor)] if ancestor else []
        added += [_line_of(block) for block in blocks]
        if self._line_count > 2 * self._kept_blocks or self._is_failing:
            self.rewrite(kept)
        else:
            self._append(b"".join(msgspec.json.encode(line) + b"\n" for line in added))
            self._line_count += len(added)

    def rewrite(self, blocks: Sequence[FeedBlock]) -> None:
        lines = [JournalHeader(self._chain, self._genesis or ""), *(_line_of(block) for block in blocks)]
        self._replace(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self._line_count = len(lines)

    def _read_valid_blocks(self) -> list[FeedBlock]:
        try:
            first, *lines = self._path.read_bytes().splitlines()
            header = decode_json(_line_decoder, first)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, the feed starts at the chain's head: %s", self._path, error)
            return []
        if header != JournalHeader(self._chain, self._genesis or ""):
            log.warning("%s belongs to another chain (%s), the feed starts at the chain's head", self._path, header)
            return []
        blocks: list[FeedBlock] = []
        for line in lines:
            try:
                blocks = _apply_line(blocks, decode_json(_line_decoder, line))
            except (ValueError, BadFrame) as error:
                last = blocks[-1].header.number if blocks else None
                log.warning("%s is valid up to block %s: %s", self._path, last, error)
                break
        return blocks

    def _append(self, lines: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            self._report_failure(error)

    def _replace(self, path: Path, content: bytes) -> None:
        written = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(content)
            written.replace(path)
            self._is_failing = False
        except OSError as error:
            self._report_failure(error)

    def _report_failure(self, error: OSError) -> None:
        if not self._is_failing:
            log.error("the journal cannot be written (%s); after a restart now the feed would start at the head", error)
        self._is_failing = True


def _apply_line(blocks: list[FeedBlock], line: Line) -> list[FeedBlock]:
    """Raises ValueError, BadFrame."""
    match line:
        case EmittedBlock(header, frames):
            if blocks and blocks[-1].header.hash != header.parent:
                raise ValueError(f"block {header.number} does not follow block {blocks[-1].header.number}")
            return [*blocks, FeedBlock(header, _decode_updates(header, frames))]
        case Rewind(to):
            hashes = [block.header.hash for block in blocks]
            return blocks[: hashes.index(to) + 1]
        case JournalHeader():
            raise ValueError("a second header in the middle")


def _line_of(block: FeedBlock) -> EmittedBlock:
    header = msgspec.structs.replace(block.header, bloom=None)
    return EmittedBlock(header, b"".join(encode(update) for update in block.updates))


def _decode_updates(header: NodeHeader, frames: bytes) -> tuple[PoolUpdate, ...]:
    updates = tuple(each for each in Decoder().feed(frames) if isinstance(each, PoolUpdate))
    if len(b"".join(encode(update) for update in updates)) != len(frames):
        raise ValueError(f"the updates of block {header.number} are incomplete")
    return updates
