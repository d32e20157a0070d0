"""`cascada ledger`: read the accounts of all advertisers and check that every sum adds up."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator

from service.errors import OperatorError
from service.features.accounts import Accounts, Books
from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.store import StoreUnavailable
from service.settings import load_settings

_TIMEOUT_S = 60.0
_MICROS = 1_000_000


def main(argv: list[str]) -> int:
    """Run `cascada ledger ARGV`; 0 = all sums add up, 1 = it could not be read, 2 = something is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        found = asyncio.run(_read(arguments.redis_url, arguments.advertiser))
    except (OperatorError, StoreUnavailable) as error:
        print(f"cascada ledger: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(found)))
    wrong = [(name, fault) for name, books in found.items() for fault in faults(books)]
    for name, fault in wrong:
        print(f"cascada ledger: {name}: {fault}", file=sys.stderr)
    charges = sum(len(books.ledger) for books in found.values())
    if not wrong:
        print(f"{len(found):,} accounts and {charges:,} charges add up")
    return 2 if wrong else 0


def table(found: dict[str, Books]) -> Iterator[str]:
    """Lines of a table, one per advertiser; money in whole units of the account's currency."""
    sums_of = " ".join(f"{name:>14}" for name in ("budget", "spent", "reserved", "total"))
    yield f"{'advertiser':<24} {'currency':<8} {sums_of} {'clicks':>9}"
    for name, books in found.items():
        account = books.account
        sums = (
            account.budget.daily_micros,
            account.spent_micros,
            account.reserved_micros,
            account.total_micros,
        )
        money = " ".join(f"{micros / _MICROS:>14,.6f}" for micros in sums)
        yield f"{name:<24} {account.budget.currency:<8} {money} {account.clicks:>9,}"


def faults(books: Books) -> list[str]:
    """What does not add up in one account; nothing, if all is well.

    Charges sum to the total and, for the entries of the day, to what the day spent; paid clicks are counted;
    holds sum to what is reserved and each of them ends; no impression is charged twice, nor above its price.
    """
    return list(_faults(books))


def _faults(books: Books) -> Iterator[str]:
    account, entries = books.account, books.ledger
    charged = account.archived_micros + sum(one.micros for one in entries)
    if charged != account.total_micros:
        yield f"total is {account.total_micros} micros, the charges sum to {charged}"
    # The day's charges may reach into what is archived, which has no days.
    today = sum(one.micros for one in entries if one.day == account.day)
    whole = account.archived_micros == 0 or any(one.day < account.day for one in entries)
    if today > account.spent_micros or (whole and today != account.spent_micros):
        yield f"spent is {account.spent_micros} micros, the charges of {account.day} sum to {today}"
    paid = account.archived_clicks + sum(one.micros > 0 for one in entries)
    if paid != account.clicks:
        yield f"clicks are {account.clicks}, there are {paid} paid charges"
    unpaid = account.archived_unfunded + sum(one.micros == 0 for one in entries)
    if unpaid != account.unfunded:
        yield f"unfunded clicks are {account.unfunded}, there are {unpaid} charges of nothing"
    held = sum(books.holds.values())
    if held != account.reserved_micros:
        yield f"reserved is {account.reserved_micros} micros, the holds sum to {held}"
    if books.holds.keys() != books.timed:
        yield f"{len(books.holds.keys() ^ books.timed)} holds have no end, or no amount"
    if min((account.reserved_micros, account.spent_micros, *books.holds.values())) < 0:
        yield "a sum is negative"
    seen = Counter((one.request_id, one.item_id, one.served_ms) for one in entries)
    if again := [key for key, count in seen.items() if count > 1]:
        request, item, _ = again[0]
        yield f"{len(again)} impressions were charged twice, such as {item!r} of request {request!r}"
    if odd := [one for one in entries if one.micros not in (0, one.price_micros)]:
        named = f"{odd[0].item_id!r} of request {odd[0].request_id!r}"
        yield f"{len(odd)} charges differ from their price, such as {named}"


async def _read(url: str | None, advertiser: str | None) -> dict[str, Books]:
    settings = load_settings()
    if url is None:
        if settings.redis_url is None:
            raise OperatorError("name the Redis of the service: --redis-url or CASCADA_REDIS_URL")
        url = settings.redis_url.get_secret_value()
    accounts = Accounts(RedisConnection(url, 2, _TIMEOUT_S, _TIMEOUT_S), Keys(settings.redis_prefix))
    try:
        names = await accounts.advertisers()
        if advertiser is not None and advertiser not in names:
            raise OperatorError(f"there is no account of {advertiser!r}")
        found = {name: await accounts.books(name) for name in names if advertiser in (None, name)}
    finally:
        await accounts.close()
    return {name: books for name, books in found.items() if books is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada ledger", description=__doc__)
    parser.add_argument("--redis-url", help="the Redis of the service; default: CASCADA_REDIS_URL")
    parser.add_argument("--advertiser", metavar="ID", help="this one only")
    return parser
