"""A build, and what publishing it changes, as tables and sentences for people."""

from rich.table import Table
from rich.text import Text

from whitelist.pools.decisions import DYNAMIC_FEE_FLAG
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.publication.json_report import concerns
from whitelist.publication.messages import ListChange
from whitelist.publication.store import Build
from whitelist.sources.cache import age_text


def summary(build: Build) -> list[str | Table]:
    table = Table(*("source", "status", "answer's age", "tokens"), box=None)
    for name, report in build.sources.items():
        age = "" if report.age_s is None else age_text(report.age_s)
        table.add_row(name, report.status, age, f"{report.tokens:,}")
    errors = [f"{name}: {report.error}" for name, report in build.sources.items() if report.error is not None]
    rejected = len(build.rejected) + build.omitted
    return [
        f"block {build.block.number} {build.block.hash}",
        table,
        *errors,
        f"{len(build.tokens):,} tokens, {len(build.pools):,} pools listed, {rejected:,} rejected",
    ]


def decisions(build: Build, only: str | None) -> list[str | Table]:
    """A row per decision on the pool or the token `only`; without it all decisions, with the summary."""
    table = _rows("pool", "kind", "reason", with_header=only is None)
    for listed in build.pools:
        if concerns(listed, only):
            _add(table, listed.pool.id, _kind(listed.pool), listed.reason)
    for rejected in build.rejected:
        if concerns(rejected, only):
            _add(table, rejected.pool.id, "rejected", rejected.reason)
    if only is not None:
        tokens: list[str | Table] = [
            f"{token.address} is {token.symbol}, by {', '.join(token.sources)}"
            for token in build.tokens
            if token.address == only.lower()
        ]
        found = [*tokens, *([table] if table.row_count else [])]
        return found or [f"nothing was decided on {only} at block {build.block.number}"]
    omitted = [f"{build.omitted:,} more pools have a token that no source chose"] if build.omitted else []
    unresolved = [f"{name}: {reason}" for name, reason in build.unresolved.items()]
    return [*summary(build), table, *omitted, *unresolved]


def changes(build: Build, change: ListChange) -> list[str | Table]:
    listed = {decision.pool.id: decision.reason for decision in build.pools}
    reasons = listed | {decision.pool.id: decision.reason for decision in build.rejected}
    table = _rows("", "pool or token", "reason", with_header=False)
    for pool in change.pools:
        _add(table, "+", pool.id, reasons[pool.id])
    for pool_id in change.removed:
        _add(table, "-", pool_id, reasons.get(pool_id, "it is no longer on the chain"))
    for token in change.tokens:
        _add(table, "+", token.address, f"token {token.symbol}, by {', '.join(token.sources)}")
    for address in change.removed_tokens:
        _add(table, "-", address, "a token that no source chooses any more")
    count = f"{len(change.pools)} pools new or changed, {len(change.removed)} removed; {len(build.pools)} in all"
    return [*([table] if table.row_count else []), count]


def _rows(*columns: str, with_header: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=with_header)
    for column in columns:
        table.add_column(column, no_wrap=column in ("pool", "kind"), overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    """As text: brackets in reasons are no markup."""
    table.add_row(*map(Text, cells))


def _kind(pool: DiscoveredPool) -> str:
    return pool.protocol if pool.fee is None else f"{pool.protocol} {_fee(pool.fee)}"


def _fee(fee: int) -> str:
    return "dynamic" if fee & DYNAMIC_FEE_FLAG else f"{fee / 10_000:g} %"
