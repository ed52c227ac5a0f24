"""What the durable layer and the web server need of the insides of Faust, aiokafka and aiohttp.

A fingerprint that differs means: read what changed in that release, see that tables/durable and web/server.py still do
what they must, then write the new one here.
"""

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp.web
import aiokafka
import aiokafka.consumer.fetcher
import aiokafka.consumer.group_coordinator
import faust.app.base
import faust.stores.base
import faust.tables.base
import faust.tables.recovery
import faust.tables.table
import faust.transport.consumer
import faust.types.stores
import faust.web.drivers.aiohttp
import mode.services
import mode.utils.collections
import pytest
from faust.transport.drivers import aiokafka as driver

from tables.durable import app, consumer, store, table, transport

LAYER = Path(app.__file__).parent
CLASSES = (
    app.DurableApp,
    consumer.Consumer,
    consumer.ConsumerThread,
    transport.Producer,
    transport.Transport,
    store.DurableStore,
    table.DurableTable,
)

FUNCTIONS: dict[tuple[Any, str], str] = {
    (aiohttp.web.AppRunner, "_make_server"): "2d5358865abd",
    (aiohttp.web.RequestHandler, "handle_error"): "94962ffef500",
    (aiohttp.web.Server, "__call__"): "c5700549e688",
    (aiohttp.web.Server, "__init__"): "ceb06418afb9",
    (faust.app.base.App, "_new_transport"): "42db531312dd",
    (faust.app.base.App, "_new_web"): "9558ffdcacfa",
    (faust.web.drivers.aiohttp.Web, "__init__"): "52b00c1bd653",
    (faust.app.base.App, "on_rebalance_end"): "b7ff69e1e377",
    (faust.app.base.App, "on_stop"): "bfe5a933defb",
    (faust.stores.base.Store, "need_active_standby_for"): "fc7a27e8d0a8",
    (faust.stores.base.Store, "on_rebalance"): "a32fbe3c18de",
    (faust.stores.base.Store, "persisted_offset"): "73f86712cc3b",
    (faust.stores.base.Store, "set_persisted_offset"): "1dac35f34b4d",
    (faust.tables.base.Collection, "_new_store_by_url"): "343a8125107d",
    (faust.tables.recovery.Recovery, "_resume_streams"): "d986a6710c1a",
    (faust.tables.recovery.Recovery, "_seek_offsets"): "19598ca63d94",
    (faust.tables.table.Table, "on_clear"): "658ebb2f2e7c",
    (faust.tables.table.Table, "on_key_del"): "4f2900b2f9d2",
    (faust.tables.table.Table, "on_key_set"): "a370e35ca55c",
    (faust.transport.consumer.Consumer, "_add_gap"): "4df2573ded7c",
    (faust.transport.consumer.Consumer, "_is_changelog_tp"): "88867d75cfe9",
    (faust.transport.consumer.Consumer, "_new_offset"): "1d2c7ea89a7a",
    (faust.transport.consumer.Consumer, "getmany"): "4b168d84882a",
    (faust.transport.consumer.Consumer, "on_partitions_assigned"): "29ce96596f05",
    (faust.transport.consumer.Consumer, "on_partitions_revoked"): "d04b7ae72c6f",
    (faust.transport.consumer.Consumer, "perform_seek"): "0e8c130ff4b0",
    (faust.transport.consumer.Consumer, "resume_partitions"): "afe6b7c02a41",
    (faust.transport.consumer.ThreadDelegateConsumer, "_getmany"): "f9d47aa9010b",
    (faust.transport.consumer.ThreadDelegateConsumer, "seek_wait"): "e9db5bbc4ceb",
    (driver.AIOKafkaConsumerThread, "_commit"): "932852ce7a23",
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"): "c2701bfc3e6f",
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"): "ff4a4c693b7e",
    (driver.AIOKafkaConsumerThread, "on_start"): "38b4e8bd1e10",
    (driver.Consumer, "_new_consumer_thread"): "0870ec53dea7",
    (driver.Consumer, "_to_message"): "7c24f6511b2f",
    (driver.Consumer, "verify_event_path"): "a17e8f0610e1",
    (driver.Producer, "_ensure_producer"): "5592a4bbdf25",
    (driver.Producer, "_settings_extra"): "a4c7bc41b638",
    (driver.Producer, "on_start"): "219c9a7a785d",
    (faust.types.stores.StoreT, "apply_changelog_batch"): "a7ecf45a441e",
    (faust.types.stores.StoreT, "backup_partition"): "b39292d519e1",
    (faust.types.stores.StoreT, "reset_state"): "2debbab93e7d",
    (faust.types.stores.StoreT, "restore_backup"): "a1f67993ee62",
    (mode.utils.collections.FastUserDict, "clear"): "fefa29a2a72a",
    (mode.utils.collections.FastUserDict, "items"): "56f4834916b9",
    (mode.utils.collections.FastUserDict, "keys"): "082005b78cf4",
    (mode.utils.collections.FastUserDict, "values"): "dda27f189de6",
    (mode.services.Service, "stop"): "e17cd2b6bd01",
    (mode.services.ServiceCallbacks, "on_stop"): "b01e5bb11785",
    (driver, "server_list"): "5a13d9708b3c",
    (driver, "credentials_to_aiokafka_auth"): "364c9c9c6852",
    (driver, "ensure_aiokafka_TP"): "8bab82bf8643",
    (faust.transport.consumer, "ensure_TP"): "62a2822ff531",
    (faust.transport.consumer, "ensure_TPset"): "2f0ed8a809d8",
}
"""Overridden, called, or relied on for when they call the layer. The first digits of the SHA-256 of its source."""

ATTRIBUTES = [
    (aiokafka.AIOKafkaConsumer, "_coordinator"),
    (aiokafka.AIOKafkaConsumer, "_fetch_max_wait_ms"),
    (aiokafka.AIOKafkaConsumer, "_fetcher"),
    (aiokafka.consumer.fetcher.Fetcher, "_fetch_task"),
    (aiokafka.consumer.group_coordinator.GroupCoordinator, "_coordination_task"),
    (faust.tables.recovery.Recovery, "active_highwaters"),
    (faust.tables.recovery.Recovery, "active_offsets"),
    (faust.tables.recovery.Recovery, "active_tps"),
    (faust.transport.consumer.Consumer, "_acked"),
    (faust.transport.consumer.Consumer, "_acked_index"),
    (faust.transport.consumer.Consumer, "_active_partitions"),
    (faust.transport.consumer.Consumer, "_read_offset"),
]
"""Read or set, by class."""

NOT_FUNCTIONS = {"logger", "_abc_impl", "Consumer", "Producer"}


@pytest.mark.parametrize(("owner", "name"), FUNCTIONS, ids=lambda each: getattr(each, "__name__", each))
def test_a_function_that_the_layer_overrides_or_calls_is_as_it_was(owner: Any, name: str) -> None:
    assert fingerprint(getattr(owner, name)) == FUNCTIONS[owner, name]


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES, ids=lambda each: getattr(each, "__name__", each))
def test_an_attribute_that_the_layer_uses_is_still_set(owner: Any, name: str) -> None:
    assert re.search(rf"self\.{name}(: [^=]+)? = ", inspect.getsource(owner))


def test_every_override_is_on_the_list() -> None:
    listed = {name for _, name in FUNCTIONS}

    assert {name for cls in CLASSES for name in overrides(cls)} - listed - NOT_FUNCTIONS == set()


def test_every_private_name_is_on_the_list() -> None:
    listed = {name for _, name in [*FUNCTIONS, *ATTRIBUTES]}

    assert {name for path in LAYER.glob("*.py") for name in private_names(path)} - listed == set()


def fingerprint(function: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]


def overrides(cls: Any) -> Iterator[str]:
    inherited = {name for base in cls.__mro__[1:] if base is not object for name in vars(base)}
    yield from (name for name in vars(cls).keys() & inherited if not name.startswith("__"))


def private_names(path: Path) -> set[str]:
    """Of attributes that no module of the layer defines."""
    return {name for name in attributes(path) if re.match("_[a-z]", name)} - defined() - {"_exit", "_replace"}


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def defined() -> set[str]:
    names = set()
    for path in LAYER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
                names.add(node.attr)
    return names


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
