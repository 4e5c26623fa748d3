"""The common jobs of Ibis on BigQuery."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import ibis
import pandas as pd
from checks import check, main, raised
from frames import FRAME_SQL, PAGES_SQL
from ibis import _

shop = ibis.bigquery.connect(project_id="acme-shop", dataset_id="shop")
orders, customers = shop.table("orders"), shop.table("customers")


@check()
def lists() -> Any:
    return sorted(shop.list_databases()), sorted(shop.list_tables())


@check()
def schema() -> Any:
    return {name: str(kind) for name, kind in customers.schema().items()}


def expressions() -> dict[str, Any]:
    """Give what is asked in Ibis's own words."""
    some = orders.filter(orders.id < 100)  # noqa: PLR2004 - a few
    joined = orders.join(customers, orders.customer_id == customers.id)
    return {
        "select": orders.select("id", "status", "total", "placed", "deliver_by").limit(10),
        "select_masked": customers.select("id", "email", "ssn", "phone").limit(20),
        "nested": customers.select("id", "contacts").limit(9),
        "group": some.group_by("status").agg(n=_.count(), most=_.total.max()),
        "join": joined.select(orders.id, customers.ssn).limit(5),
        "many": orders.select("id"),
        "text": shop.sql(FRAME_SQL),
    }


def by_rest(expression: Any) -> Any:
    """Run what Ibis writes by BigQuery's own client."""
    return without_scale(dict(row) for row in shop.client.query_and_wait(ibis.to_sql(expression)))


def without_scale(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows without the zeros that Arrow, which has a fixed scale, puts behind a NUMERIC."""
    return [
        {
            name: cell.normalize() if isinstance(cell, Decimal) else cell
            for name, cell in row.items()
        }
        for row in rows
    ]


def both_ways(name: str) -> None:
    """Make two checks of an expression, of which Ibis's own needs the Storage API directly."""

    def plain() -> Any:
        return by_rest(ordered(name))

    def own() -> Any:
        return without_scale(ordered(name).to_pyarrow().to_pylist())

    plain.__name__, own.__name__ = f"{name}_by_rest", name
    check()(plain)
    check("frames", like=plain.__name__)(own)


def ordered(name: str) -> Any:
    """Give an expression in the order of its first column."""
    found = expressions()[name]
    return found.order_by(found.columns[0])


for one_name in expressions():
    both_ways(one_name)


@check("storage", like="pages_by_rest")
def pages() -> Any:
    return shop.sql(PAGES_SQL).to_pyarrow().num_rows


@check()
def pages_by_rest() -> Any:
    return sum(1 for _row in shop.client.query_and_wait(PAGES_SQL))


@check("frames", like="count_by_rest")
def count() -> Any:
    return int(orders.count().execute())


@check()
def count_by_rest() -> Any:
    return next(iter(by_rest(orders.count())[0].values()))


@check("frames", like="first_ids")
def data_frame() -> Any:
    return orders.select("id").order_by("id").limit(5).execute()["id"].tolist()


@check()
def first_ids() -> Any:
    return [row["id"] for row in by_rest(orders.select("id").order_by("id").limit(5))]


@check()
def raw_sql() -> Any:
    return [dict(row) for row in shop.raw_sql("SELECT COUNT(*) AS n FROM shop.orders")]


@check()
def create_table() -> Any:
    chosen = orders.select("id").order_by("id").limit(3)
    made = shop.create_table("ibis_made", chosen, database="lab", overwrite=True)
    return by_rest(made.order_by("id"))


@check()
def create_from_frame() -> Any:
    new = pd.DataFrame({"id": [1, 2], "note": ["a", "b"]})
    made = shop.create_table("ibis_frame", new, database="lab", overwrite=True)
    return by_rest(made.order_by("id"))


@check()
def create_view() -> Any:
    chosen = orders.select("id", "status")
    made = shop.create_view("ibis_view", chosen, database="lab", overwrite=True)
    return by_rest(made.order_by("id").limit(3))


@check()
def unknown_table() -> Any:
    return raised(lambda: shop.table("nothing"))


@check()
def syntax_error() -> Any:
    return raised(lambda: list(shop.raw_sql("SELEC 1")))


def one(number: int) -> Any:
    return customers.filter(customers.id == number)


@check("approval")
def approval_by_rest() -> Any:
    return by_rest(one(1).select("id", "ssn"))


@check("refusal", like="approval_by_rest")
def approval() -> Any:
    return one(1).select("id", "ssn").to_pyarrow().to_pylist()


@check("refusal")
def denial() -> Any:
    return raised(one(2).select("id", "ssn").execute)


@check("refusal")
def expiry() -> Any:
    return raised(one(3).select("phone").execute)


if __name__ == "__main__":
    main()
