"""Makes the sample set: a small shop with customers, orders, support tickets and web events.

`python -m keystile.sandbox.sample_data` writes it anew into the package. Nobody in it is real:
surnames are products, addresses are at example.com, phone numbers are 555-01xx, and the first
three digits of each SSN lie in 900-999, which are never issued. Seeded, so every run gives the
same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keystile.sandbox.sample import SAMPLE

_SEED = 20_240_101
_CUSTOMERS, _ORDERS, _TICKETS, _EVENTS = 200, 1_000, 300, 2_000
_START = datetime(2024, 1, 1, tzinfo=UTC)
_MINUTES = 600 * 24 * 60
_TAXONOMY = "projects/acme-shop/locations/us/taxonomies/1/policyTags/"

Row = dict[str, object]
Column = dict[str, object]

_FIRST = "Ada Ben Cleo Dan Eve Finn Gia Hugo Ivy Jack Kim Leo Mia Ned Ora Pia Quin Rae Sam Tess"
_LAST = "Kettle Lamp Teapot Ladder Cushion Pillow Saucer Whisk Bucket Candle Mug Spoon"
_STREETS = "Sample Street,Example Avenue,Placeholder Road,Test Lane,Demo Drive,Mock Mews"
_CITIES = "Springtown,Lakeview,Hillford,Portside,Fairmont,Northbrook"
_PRODUCTS = "kettle,lamp,teapot,ladder,cushion,saucer,whisk,bucket,candle,mug"
_NOTES = (
    "Prefers to be called in the morning.",
    "Asked for an invoice by post.",
    "Moved house in spring; the old address is out of date.",
    "Wants no newsletter.",
    "",
)
_ISSUES = (
    ("Where is my parcel?", "The parcel has not arrived. Please call me on {phone}."),
    ("Wrong item", "I ordered a {product} and got something else. Write to {email}."),
    ("Refund", "Please refund the {product}. My SSN for the tax form is {ssn}."),
    ("Broken on arrival", "The {product} came in pieces. I am {name}, order number below."),
    ("Change of address", "I have moved to {street}, {city}. Please update my account."),
    ("Thank you", "The {product} is lovely."),
)


def _column(name: str, type_: str, description: str = "", **more: object) -> Column:
    column: Column = {"name": name, "type": type_, "mode": "NULLABLE"}
    return column | ({"description": description} if description else {}) | more


def _tagged(name: str, tag: str, description: str) -> Column:
    return _column(name, "STRING", description, policyTags={"names": [_TAXONOMY + tag]})


_SCHEMAS: dict[str, list[Column]] = {
    "shop/customers": [
        _column("id", "INTEGER", "Customer number", mode="REQUIRED"),
        _tagged("name", "pii.name", "First name and surname"),
        _tagged("email", "pii.email", "Address for order mail"),
        _tagged("ssn", "pii.ssn", "Social security number"),
        _tagged("phone", "pii.phone", "Daytime number"),
        _column(
            "address",
            "RECORD",
            "Where parcels go",
            fields=[
                _tagged("street", "pii.address", "Street and number"),
                _column("city", "STRING"),
                _tagged("zip", "pii.address", "Postal code"),
            ],
        ),
        _column(
            "contacts",
            "RECORD",
            "Other ways to reach the customer",
            mode="REPEATED",
            fields=[
                _column("kind", "STRING", "`email` or `phone`"),
                _tagged("value", "pii.contact", "The address or number"),
            ],
        ),
        _column("notes", "STRING", "Free text by the support team"),
        _column("created", "TIMESTAMP", "When the account was opened"),
    ],
    "shop/orders": [
        _column("id", "INTEGER", "Order number", mode="REQUIRED"),
        _column("customer_id", "INTEGER", "`customers.id`", mode="REQUIRED"),
        _column("status", "STRING", "`open`, `sent` or `returned`"),
        _column("total", "NUMERIC", "Sum over all items, in dollars"),
        _column(
            "items",
            "RECORD",
            "What was ordered",
            mode="REPEATED",
            fields=[
                _column("product", "STRING"),
                _column("quantity", "INTEGER"),
                _column("price", "NUMERIC", "For one, in dollars"),
            ],
        ),
        _column("placed", "TIMESTAMP", "When it was ordered"),
        _column("deliver_by", "DATE", "The promised day"),
    ],
    "shop/tickets": [
        _column("id", "INTEGER", "Ticket number", mode="REQUIRED"),
        _column("customer_id", "INTEGER", "`customers.id`"),
        _column("subject", "STRING"),
        _column("body", "STRING", "What the customer wrote"),
        _column("priority", "INTEGER", "1 is most urgent"),
        _column("open", "BOOLEAN"),
        _column("opened", "TIMESTAMP"),
    ],
    "analytics/events": [
        _column("id", "STRING", mode="REQUIRED"),
        _column("customer_id", "INTEGER", "`customers.id`; NULL for a visitor"),
        _column("kind", "STRING", "`view`, `search`, `cart` or `buy`"),
        _column("page", "STRING"),
        _column("seconds", "FLOAT", "Time on the page"),
        _column("properties", "JSON"),
        _column("at", "TIMESTAMP"),
    ],
}
_DESCRIPTIONS = {
    "shop/customers": "People who have an account",
    "shop/orders": "Orders, with their items",
    "shop/tickets": "What customers wrote to support",
    "analytics/events": "What visitors did on the web site",
}


_VIEW = """\
SELECT customers.address.city, COUNT(*) AS orders, SUM(orders.total) AS total
FROM shop.orders JOIN shop.customers ON customers.id = orders.customer_id
GROUP BY city
"""


def rows(seed: int = _SEED) -> dict[str, list[Row]]:
    """Make every table's rows, by `dataset/table`."""
    chance = random.Random(seed)  # noqa: S311  # sample data, no secret
    customers = [_customer(chance, number) for number in range(1, _CUSTOMERS + 1)]
    return {
        "shop/customers": customers,
        "shop/orders": [_order(chance, number) for number in range(1, _ORDERS + 1)],
        "shop/tickets": [_ticket(chance, n, customers) for n in range(1, _TICKETS + 1)],
        "analytics/events": [_event(chance, number) for number in range(1, _EVENTS + 1)],
    }


def _moment(chance: random.Random) -> datetime:
    return _START + timedelta(minutes=chance.randrange(_MINUTES), seconds=chance.randrange(60))


def _customer(chance: random.Random, number: int) -> Row:
    first, last = chance.choice(_FIRST.split()), chance.choice(_LAST.split())
    email = f"{first}.{last}{number}@example.com".lower()
    makers: list[Callable[[], Row]] = [
        lambda: {"kind": "email", "value": f"{first}{number}@mail.example.com".lower()},
        lambda: {"kind": "phone", "value": _phone(chance)},
    ]
    return {
        "id": number,
        "name": f"{first} {last}",
        "email": email,
        "ssn": f"{chance.randint(900, 999)}-{chance.randint(10, 99)}-{number:04d}",
        "phone": _phone(chance),
        "address": {
            "street": f"{chance.randint(1, 99)} {chance.choice(_STREETS.split(','))}",
            "city": chance.choice(_CITIES.split(",")),
            "zip": f"00{chance.randint(100, 999)}",
        },
        "contacts": [make() for make in makers if chance.random() < 0.6],  # noqa: PLR2004
        "notes": chance.choice(_NOTES) or None,
        "created": _moment(chance).isoformat(),
    }


def _phone(chance: random.Random) -> str:
    return f"({chance.randint(201, 989)}) 555-01{chance.randint(0, 99):02d}"


def _order(chance: random.Random, number: int) -> Row:
    placed = _moment(chance)
    items: list[tuple[str, int, int]] = [
        (product, chance.randint(1, 4), chance.randint(300, 9_900))
        for product in chance.sample(_PRODUCTS.split(","), chance.randint(1, 3))
    ]
    total = sum(quantity * cents for _, quantity, cents in items)
    return {
        "id": number,
        "customer_id": chance.randint(1, _CUSTOMERS),
        "status": chance.choice(("open", "sent", "sent", "sent", "returned")),
        "total": _dollars(total),
        "items": [
            {"product": product, "quantity": quantity, "price": _dollars(cents)}
            for product, quantity, cents in items
        ],
        "placed": placed.isoformat(),
        "deliver_by": (placed + timedelta(days=chance.randint(2, 9))).date().isoformat(),
    }


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _ticket(chance: random.Random, number: int, customers: list[Row]) -> Row:
    customer = chance.choice(customers)
    address = customer["address"]
    subject, body = chance.choice(_ISSUES)
    facts = customer | (address if isinstance(address, dict) else {})
    return {
        "id": number,
        "customer_id": customer["id"],
        "subject": subject,
        "body": body.format(product=chance.choice(_PRODUCTS.split(",")), **facts),
        "priority": chance.randint(1, 4),
        "open": chance.random() < 0.3,  # noqa: PLR2004  # the share that is open
        "opened": _moment(chance).isoformat(),
    }


def _event(chance: random.Random, number: int) -> Row:
    kind = chance.choice(("view", "view", "view", "search", "cart", "buy"))
    product = chance.choice(_PRODUCTS.split(","))
    known = kind == "buy" or chance.random() < 0.5  # noqa: PLR2004  # the share signed in
    return {
        "id": f"e{number:05d}",
        "customer_id": chance.randint(1, _CUSTOMERS) if known else None,
        "kind": kind,
        "page": f"/products/{product}",
        "seconds": round(chance.expovariate(1 / 40), 2),
        "properties": {"product": product, "mobile": chance.random() < 0.5},  # noqa: PLR2004
        "at": _moment(chance).isoformat(),
    }


def files() -> Iterator[tuple[str, str]]:
    """Give every file's path under the sample folder and its text."""
    for table, columns in _SCHEMAS.items():
        schema = {"description": _DESCRIPTIONS[table], "fields": columns}
        yield f"acme-shop/{table}.schema.json", json.dumps(schema, indent=2) + "\n"
    for table, made in rows().items():
        yield f"acme-shop/{table}.ndjson", "".join(f"{json.dumps(row)}\n" for row in made)
    yield "acme-shop/analytics/sales_by_city.view.sql", _VIEW


def main(folder: Path = SAMPLE) -> None:
    """Write the files."""
    for name, text in files():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
