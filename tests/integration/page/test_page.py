"""The page in a real browser, on a worker that follows a chain: what it shows, how it reacts, what it never does."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request

from lab.devnet.chain.contracts import Pool
from lab.devnet.servers import whitelist_publisher as listing
from settings import Settings
from streams.nats import jetstream
from streams.nats.connection import connect_nats
from streams.nats.whitelist_encoder import OutgoingMessage
from streams.secret_url import SecretUrl
from tests.support.programs.chromium import ChromiumMissing, chromium
from tests.support.system_trial import Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

HOSTILE = "<img src=x onerror=alert(1)>"
WAIT_S = 60.0
LOCALE = "en-GB"
SCREENSHOTS = os.environ.get("ARENA_SCREENSHOTS")
"""A directory for the pictures of the documentation."""


class Shown(NamedTuple):
    trial: Trial
    page: Page
    complaints: list[str]
    """Errors on the console but those of HTTP, which the page shows as sentences; and requests to other origins."""


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with AsyncExitStack() as stack:
        try:
            started = await stack.enter_async_context(chromium())
        except ChromiumMissing as error:
            pytest.skip(str(error))
        yield started


@pytest.fixture
async def shown(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> AsyncIterator[Shown]:
    """The page of the first of two workers, one of whose pools has a hostile symbol."""
    async with browser() as chrome, running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=2) as trial:
        await publish_hostile(nats, chain_name, trial.world.pools)
        await asyncio.to_thread(trial.share)
        await asyncio.to_thread(trial.settle)
        page = await chrome.new_page(locale=LOCALE, viewport={"width": 1280, "height": 900})
        complaints: list[str] = []
        watch(page, trial.ours.urls[0], complaints)
        await page.goto(trial.ours.urls[0] + "/")
        try:
            await page.wait_for_selector(".tabulator-row", timeout=WAIT_S * 1000)
        except Error:
            pytest.fail(
                f"no row after {WAIT_S} s: {await page.inner_text('body')}, {complaints}, {trial.served.status()}"
            )
        yield Shown(trial, page, complaints)


async def publish_hostile(url: str, chain: str, pools: Sequence[Pool]) -> None:
    message = listing.full(chain, pools)
    message["pools"][0]["token0"]["symbol"] = HOSTILE
    async with connect_nats(Settings(nats=SecretUrl(url))) as client:
        subject = f"whitelist.pools.{chain}.full"
        await jetstream.publish(client, chain, [OutgoingMessage(subject, json.dumps(message).encode())])


def watch(page: Page, origin: str, complaints: list[str]) -> None:
    def of_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def of_network(request: Request) -> None:
        if not request.url.startswith(origin):
            complaints.append(f"a request to {request.url}")

    page.on("console", of_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", of_network)
    page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_the_page_shows_what_the_api_says_and_follows_reorgs_and_restarts(shown: Shown) -> None:
    """One system for all of it: to start one takes longer than to look at it."""
    await the_table_lists_every_pool(shown)
    await a_pool_s_values_equal_the_api_to_the_digit(shown)
    await a_quote_equals_the_api(shown)
    await a_search_finds_a_pool_by_keyboard_alone(shown)
    await a_reorg_appears(shown)
    await the_page_greys_out_and_comes_back_with_its_worker(shown)
    assert shown.complaints == []


async def the_table_lists_every_pool(shown: Shown) -> None:
    rows = shown.page.locator(".tabulator-row")
    await until(lambda: same(rows.count(), len(shown.trial.world.pools)))

    texts = await rows.all_inner_texts()
    assert sum(HOSTILE in text for text in texts) == 1
    assert await shown.page.locator(".tabulator-row img").count() == 0
    await picture(shown, "page-pools")


async def a_pool_s_values_equal_the_api_to_the_digit(shown: Shown) -> None:
    pool = await deepest(shown)
    await shown.page.goto(f"{shown.trial.ours.urls[0]}/#/pool/{pool.id}")
    await shown.page.wait_for_selector(".u-over")
    answered = await ask(shown, f"/pools/{pool.id}/")

    for name, value in answered["state"].items():
        assert await shown.page.inner_text(f'#state dd[data-field="{name}"]') == str(value)
    assert await shown.page.inner_text('#state dd[data-field="price"]') == answered["price"]["token1_per_token0"]
    ticks = (await ask(shown, f"/pools/{pool.id}/ticks/"))["ticks"]
    await until(lambda: same(shown.page.locator("#ticks tbody tr").count(), len(ticks)))
    rows = await shown.page.locator("#ticks tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        [str(each["tick"]), each["liquidity_net"], each["liquidity_gross"]] for each in ticks
    ]
    await picture(shown, "page-pool")


async def deepest(shown: Shown) -> Pool:
    """The V3 pool with the most liquidity: it has some on both sides of its price."""
    pools = [each for each in shown.trial.world.pools if each.protocol == "v3"]
    liquidity = {each.id: int((await ask(shown, f"/pools/{each.id}/"))["state"]["liquidity"]) for each in pools}
    return max(pools, key=lambda each: liquidity[each.id])


async def a_quote_equals_the_api(shown: Shown) -> None:
    pool = await deepest(shown)
    await shown.page.fill('input[name="amount"]', "0.001")
    await shown.page.click('section[aria-label="Quote"] button')
    await shown.page.wait_for_selector("#quote")
    answered = await ask(shown, f"/pools/{pool.id}/quote?token_in={pool.token0}&amount_in={10**15}")

    place = shown.page.locator("#quote")
    shown_value = await place.evaluate("place => place.querySelector('dd')?.dataset.value ?? place.textContent")
    assert shown_value == (answered.get("amount_out") or answered["error"])


async def a_search_finds_a_pool_by_keyboard_alone(shown: Shown) -> None:
    pool = shown.trial.world.pools[-1]
    await shown.page.keyboard.press("Escape")
    await shown.page.wait_for_selector('input[name="search"]')
    await shown.page.reload()
    await shown.page.wait_for_selector(".tabulator-row")
    reached = []
    for _ in range(12):
        await shown.page.keyboard.press("Tab")
        reached.append(await shown.page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        if reached[-1] == "search":
            break
    await shown.page.keyboard.type(pool.id[:20])
    rows = shown.page.locator(".tabulator-row")
    await until(lambda: same(rows.count(), 1))
    await shown.page.keyboard.press("Enter")
    await shown.page.wait_for_selector("#state")

    assert reached[:2] == ["Pools", "System"]
    assert shown.page.url.endswith(pool.id)


async def a_reorg_appears(shown: Shown) -> None:
    await shown.page.goto(f"{shown.trial.ours.urls[0]}/#/system")
    await shown.page.wait_for_selector("#partitions tbody tr")
    await asyncio.to_thread(shown.trial.mine, 12)
    await until(lambda: head_is(shown))
    await asyncio.to_thread(shown.trial.reorg)
    await asyncio.to_thread(shown.trial.mine, 3)
    await asyncio.to_thread(shown.trial.settle)

    await shown.page.wait_for_selector('#notes li[data-kind="reorg"]', timeout=WAIT_S * 1000)
    await until(lambda: head_is(shown))
    assert await shown.page.locator("#chain .dropped").count() > 0
    await picture(shown, "page-system")


async def the_page_greys_out_and_comes_back_with_its_worker(shown: Shown) -> None:
    name = next(name for name in shown.trial.ours.names if name.startswith("worker"))
    shown.trial.kill(name)
    await until(lambda: matches(shown.page, "body.silent"))
    shown.trial.ours.start(name)
    await asyncio.to_thread(shown.trial.mine, 2)

    await until(lambda: head_is(shown))
    await until(lambda: same(shown.page.locator("body.silent").count(), 0))


async def test_a_worker_with_a_token_asks_for_it(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> None:
    async with (
        browser() as chrome,
        running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=1, web_token="marked") as trial,
    ):
        page = await chrome.new_page(locale=LOCALE)
        url = trial.ours.urls[0] + "/"
        await until(lambda: is_served(page, url))
        await page.fill('input[name="token"]', "marked")
        await page.click("button")

        await until(lambda: is_at_a_new_block(trial, page))


async def is_at_a_new_block(trial: Trial, page: Page) -> bool:
    """The bridge publishes what is mined after it has started."""
    await asyncio.to_thread(trial.mine, 1)
    return await matches(page, "#block")


async def is_served(page: Page, url: str) -> bool:
    try:
        await page.goto(url)
        await page.wait_for_selector('input[name="token"]', timeout=3000)
    except Error:
        return False
    return True


async def head_is(shown: Shown) -> bool:
    return await shown.page.inner_text("#block") == str(shown.trial.world.chain.tip.number)


async def matches(page: Page, selector: str) -> bool:
    return await page.locator(selector).count() > 0


async def same(counted: Awaitable[int], expected: int) -> bool:
    return await counted == expected


async def ask(shown: Shown, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while (answer := await asyncio.to_thread(shown.trial.served.get, path)) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    return answer


async def picture(shown: Shown, name: str) -> None:
    if SCREENSHOTS:
        await shown.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")
