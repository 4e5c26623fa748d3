"""What agents ask of the sample shop, day after day: the same shapes with other literals."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

PROJECT = "acme-shop"

_CITIES = ("Lund", "Oslo", "Ghent", "Bern", "Porto", "Graz")
_DAY = "TIMESTAMP '2026-01-{day:02d} 00:00:00+00'"

# How often agents ask for each, and its text: mostly aggregates and look-ups.
_SHAPES = """
12 SELECT COUNT(*) FROM shop.orders WHERE total > {n} AND status = '{status}'

10 SELECT id, status, total FROM shop.orders WHERE customer_id = {n}
   ORDER BY placed DESC LIMIT 20

8 SELECT id, name, email FROM shop.customers WHERE id = {n}

6 SELECT c.name, c.email, SUM(o.total) AS spent
  FROM shop.customers AS c JOIN shop.orders AS o ON o.customer_id = c.id
  WHERE o.placed >= {day} GROUP BY 1, 2 HAVING spent > {n}

2 SELECT ssn FROM shop.customers WHERE id IN ({n}, {m})

4 SELECT id, phone FROM shop.customers WHERE address.city = '{city}' AND id > {n}

3 SELECT address.street, address.zip FROM shop.customers WHERE id = {n}

5 SELECT subject, body FROM shop.tickets WHERE open AND priority <= {p} AND id > {n}

4 WITH late AS (
    SELECT customer_id, COUNT(*) AS n FROM shop.orders
    WHERE deliver_by < '2026-01-{d:02d}' AND total > {n} GROUP BY 1)
  SELECT c.id, late.n FROM late JOIN shop.customers AS c ON c.id = late.customer_id
  ORDER BY late.n DESC

6 SELECT i.product, SUM(i.quantity * i.price) AS revenue
  FROM shop.orders AS o, UNNEST(o.items) AS i WHERE o.total > {n} GROUP BY i.product

6 SELECT kind, APPROX_QUANTILES(seconds, 4) FROM analytics.events
  WHERE at >= {day} AND customer_id <> {n} GROUP BY kind

4 SELECT JSON_VALUE(properties, '$.product') AS product, COUNTIF(kind = 'buy')
  FROM analytics.events WHERE seconds > {p} AND customer_id < {n} GROUP BY product

5 SELECT city, total FROM analytics.sales_by_city WHERE total > {n}

4 FROM shop.orders |> WHERE total > {n} |> AGGREGATE SUM(total) AS t GROUP BY status

3 SELECT k.kind, k.value FROM shop.customers AS c, UNNEST(c.contacts) AS k WHERE c.id = {n}

2 DECLARE n INT64 DEFAULT {n};
  SELECT id FROM shop.orders WHERE customer_id = n

3 SELECT id, RANK() OVER (PARTITION BY status ORDER BY total DESC) AS place
  FROM shop.orders WHERE customer_id < {n} QUALIFY place <= {p}

1 INSERT INTO shop.tickets (id, customer_id, subject) VALUES ({n}, {m}, 'from {city}')

1 DELETE FROM shop.tickets WHERE id = {n}

0.5 CREATE TABLE shop.copy_{n} AS SELECT id, total FROM shop.orders

0.5 EXPORT DATA OPTIONS (uri = 'gs://out/{n}-*.csv', format = 'CSV') AS
    SELECT id FROM shop.orders

1 SELECT COUNT(*) FROM shop.INFORMATION_SCHEMA.TABLES WHERE table_name LIKE '%{n}%'

1 SELECT COUNT(*) FROM `shop.ticket*` WHERE id > {n}

0.5 SELECT nothing FROM shop.orders WHERE id = {n}

0.5 SELECT id FROM shop.missing WHERE id = {n}
"""
_PARTED = [shape.split(" ", 1) for shape in _SHAPES.strip().split("\n\n")]
_TEXTS = [text for _, text in _PARTED]
_WEIGHTS = [float(weight) for weight, _ in _PARTED]


class Agent(NamedTuple):
    """An agent as it is registered."""

    name: str
    groups: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...] = ()


AGENTS = (
    Agent("report-bot", ("coding-agents",)),
    Agent("support-bot", ("coding-agents",), (("purpose", "support"), ("region", "Lund"))),
    Agent("growth-bot", ("analytics",)),
    Agent("etl-bot", ("coding-agents", "pipelines")),
    Agent("stray-bot", ()),
)
_ASK = (40, 20, 20, 18, 2)


class AgentQuery(NamedTuple):
    """A query of an agent, as the configuration of `jobs.insert`.

    Those of one `shape` differ in literals and names of new tables alone.
    """

    agent: Agent
    configuration: dict[str, Any]
    shape: str


class AgentQueries:
    """A reproducible stream. Of `distinct` texts or so each may come again; 0 for ever new ones."""

    def __init__(self, seed: str, distinct: int = 0) -> None:
        """Begin: the same seed gives the same queries."""
        self._random = Random(seed)
        self._distinct = distinct
        self._made: list[tuple[str, str]] = []

    def sql(self) -> tuple[str, str]:
        """Give the next text and its shape."""
        if self._distinct and len(self._made) >= self._distinct:
            return self._random.choice(self._made)
        shape = self._random.choices(_TEXTS, _WEIGHTS)[0]
        chance = self._random
        made = shape.format(
            n=chance.randrange(10**6),
            m=chance.randrange(10**6),
            p=chance.randrange(1, 6),
            d=chance.randrange(1, 31),
            city=chance.choice(_CITIES),
            status=chance.choice(("open", "sent", "returned")),
            day=_DAY.format(day=chance.randrange(1, 31)),
        )
        self._made.append((made, shape))
        return made, shape

    def agent(self) -> Agent:
        """Give who asks next."""
        return self._random.choices(AGENTS, _ASK)[0]

    def query(self) -> AgentQuery:
        """Give the next query, as its agent's client sends it."""
        sql, shape = self.sql()
        query: dict[str, Any] = {"query": sql, "useLegacySql": False}
        configuration: dict[str, Any] = {"query": query}
        chance = self._random.random()
        if chance < 0.1:  # noqa: PLR2004 - the share with a parameter
            query["query"] = shape = "SELECT id, email FROM customers WHERE name = @name"
            query["defaultDataset"] = {"projectId": PROJECT, "datasetId": "shop"}
            value = {"value": str(chance)}
            type_ = {"type": "STRING"}
            query["queryParameters"] = [
                {"name": "name", "parameterType": type_, "parameterValue": value}
            ]
        elif chance < 0.15:  # noqa: PLR2004 - a dry run
            configuration["dryRun"] = True
            shape = f"dry run of {shape}"
        elif chance < 0.18:  # noqa: PLR2004 - a result into a table
            number = self._random.randrange(10**6)
            query["query"] = "SELECT id, ssn FROM shop.customers"
            shape = "into a table"
            query["destinationTable"] = _table(f"kept_{number}")
        elif chance < 0.2:  # noqa: PLR2004 - a table is copied
            name = self._random.choice(("orders", "customers"))
            copied = {"sourceTable": _table(name), "destinationTable": _table(f"{name}_copy")}
            configuration, shape = {"copy": copied}, f"copy of {name}"
        return AgentQuery(self.agent(), configuration, shape)


def _table(name: str) -> dict[str, str]:
    return {"projectId": PROJECT, "datasetId": "shop", "tableId": name}
