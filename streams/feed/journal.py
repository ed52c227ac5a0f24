"""What the feed has told, kept on disk: started again, it goes on with the block after the last, and with its list.

The journal gets a line for every block told; a torn or foreign line ends what is believed of it. Where nothing can be
believed the feed starts at the chain's head, and says why. It never ends because of its files.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from protocols.types import PoolId, ProtocolName
from settings import Settings
from streams.exex.control import Decoder, PoolUpdate, encode
from streams.exex.control_frames import BadFrame
from streams.feed.blocks import FeedBlock
from streams.node.client import NodeHeader

log = logging.getLogger(__name__)

KEPT_BLOCKS = 256


class Opening(msgspec.Struct, frozen=True, tag="of"):
    chain: str
    genesis: str
    """The hash of block 0, so that a chain begun afresh is not taken for the old one."""


class EmittedBlock(msgspec.Struct, frozen=True, tag="told"):
    header: NodeHeader
    frames: bytes
    """The block's updates in the control protocol."""


class Back(msgspec.Struct, frozen=True, tag="back"):
    """The blocks after this one were taken back."""

    to: str


class FilterSet(msgspec.Struct, frozen=True):
    """Which logs are told."""

    pools: dict[PoolId, ProtocolName | None] = {}
    """None: an address whose protocol the list does not say."""
    managers: dict[PoolId, str] = {}
    """Whose logs count for a V4 pool."""


class ActiveFilter(msgspec.Struct, frozen=True):
    from_block: int
    """The first block that was told by this list."""
    watched: FilterSet


_lines: msgspec.json.Decoder[Opening | EmittedBlock | Back] = msgspec.json.Decoder(Opening | EmittedBlock | Back)
_list: msgspec.json.Decoder[ActiveFilter] = msgspec.json.Decoder(ActiveFilter)


class Journal:
    def __init__(self, settings: Settings, kept_blocks: int = KEPT_BLOCKS) -> None:
        name = f"exex-{settings.chain}-{settings.exex_socket.stem}"
        self._path = settings.data / f"{name}.journal"
        self._list_path = settings.data / f"{name}.list"
        self._chain = settings.chain
        self._kept_blocks = kept_blocks
        self._genesis: str | None = None
        self._lines = 0
        self._is_failing = False

    def load(self, genesis: str) -> list[FeedBlock]:
        """Ascending, each the parent of the next; from now on the journal is of this chain."""
        self._genesis = genesis
        told = self._believed()[-self._kept_blocks :]
        self.rewrite(told)
        return told

    def list_in_force(self) -> ActiveFilter | None:
        try:
            return _list.decode(self._list_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is no list of this feed's, so it waits for the one on NATS: %s", self._list_path, error)
            return None

    def keep_list(self, in_force: ActiveFilter) -> None:
        self._replace(self._list_path, msgspec.json.encode(in_force))

    def add(self, blocks: Sequence[FeedBlock], all_told: Sequence[FeedBlock], back_to: str | None = None) -> None:
        """`all_told`: everything remembered now, `blocks` at its end; `back_to`: where they branch off, in a reorg."""
        added: list[EmittedBlock | Back] = [Back(back_to)] if back_to else []
        added += [_told(block) for block in blocks]
        if self._lines > 2 * self._kept_blocks or self._is_failing:
            self.rewrite(all_told)
        else:
            self._append(b"".join(msgspec.json.encode(line) + b"\n" for line in added))
            self._lines += len(added)

    def rewrite(self, told: Sequence[FeedBlock]) -> None:
        lines = [Opening(self._chain, self._genesis or ""), *(_told(block) for block in told)]
        self._replace(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self._lines = len(lines)

    def _believed(self) -> list[FeedBlock]:
        try:
            first, *lines = self._path.read_bytes().splitlines()
            opening = _lines.decode(first)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            log.warning("%s is no journal of this feed's, so it starts at the head: %s", self._path, error)
            return []
        if opening != Opening(self._chain, self._genesis or ""):
            log.warning("%s is of another chain (%s), so the feed starts at the head", self._path, opening)
            return []
        told: list[FeedBlock] = []
        for line in lines:
            try:
                told = _after(told, _lines.decode(line))
            except (ValueError, BadFrame) as error:
                log.warning(
                    "%s can be read up to block %s: %s", self._path, told[-1].header.number if told else None, error
                )
                break
        return told

    def _append(self, lines: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            self._failed(error)

    def _replace(self, path: Path, content: bytes) -> None:
        written = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(content)
            written.replace(path)
            self._is_failing = False
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            log.error("What is told cannot be kept (%s); started again now, the feed would begin at the head", error)
        self._is_failing = True


def _after(told: list[FeedBlock], line: Opening | EmittedBlock | Back) -> list[FeedBlock]:
    """Raises ValueError, BadFrame."""
    match line:
        case EmittedBlock(header, frames):
            if told and told[-1].header.hash != header.parent:
                raise ValueError(f"block {header.number} does not follow block {told[-1].header.number}")
            return [*told, FeedBlock(header, _updates(header, frames))]
        case Back(to):
            hashes = [block.header.hash for block in told]
            return told[: hashes.index(to) + 1]
        case Opening():
            raise ValueError("it begins again in the middle")


def _told(block: FeedBlock) -> EmittedBlock:
    return EmittedBlock(block.header, b"".join(encode(update) for update in block.updates))


def _updates(header: NodeHeader, frames: bytes) -> tuple[PoolUpdate, ...]:
    updates = tuple(each for each in Decoder().feed(frames) if isinstance(each, PoolUpdate))
    if len(b"".join(encode(update) for update in updates)) != len(frames):
        raise ValueError(f"the updates of block {header.number} are cut")
    return updates
