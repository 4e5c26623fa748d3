"""The common jobs of SQLAlchemy with sqlalchemy-bigquery."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from checks import check, main, raised
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = sa.create_engine("bigquery://acme-shop/shop")
lab = sa.create_engine("bigquery://acme-shop/lab")
CUSTOMERS = "SELECT id, email, ssn, phone FROM customers ORDER BY id LIMIT 20"


class Base(DeclarativeBase):
    """The mapped tables."""


class Order(Base):
    """An order, as far as it is asked for."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int]
    status: Mapped[str]


def rows(statement: Any, parameters: Any = None) -> Any:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(statement, parameters)]  # noqa: SLF001 - its public way to a mapping


def failed(sql: str) -> dict[str, str]:
    told = raised(lambda: rows(sa.text(sql)))
    # The driver's words stand first, SQLAlchemy's own after them.
    return told | {"message": told["message"].splitlines()[0]}


@check()
def text() -> Any:
    return rows(sa.text(CUSTOMERS))


@check()
def parameters() -> Any:
    sql = "SELECT id, status FROM orders WHERE id < :n AND status = :status ORDER BY id"
    return rows(sa.text(sql), {"n": 20, "status": "sent"})


@check()
def expressions() -> Any:
    orders = sa.table("orders", sa.column("status"), sa.column("total"))
    count = sa.func.count().label("n")
    return rows(sa.select(orders.c.status, count).group_by(orders.c.status).order_by("status"))


@check()
def expanding_list() -> Any:
    orders = sa.table("orders", sa.column("id", sa.Integer), sa.column("total", sa.Numeric))
    return rows(sa.select(orders).where(orders.c.id.in_([1, 2, 3])).order_by(orders.c.id))


@check()
def mapped_objects() -> Any:
    with Session(engine) as session:
        found = session.scalars(sa.select(Order).where(Order.id < 4).order_by(Order.id))  # noqa: PLR2004 - a few
        return [[one.id, one.customer_id, one.status] for one in found]


@check()
def many_rows() -> Any:
    return len(rows(sa.text("SELECT id FROM orders")))


@check()
def schemas() -> Any:
    return sorted(sa.inspect(engine).get_schema_names())


@check()
def tables() -> Any:
    return sorted(sa.inspect(engine).get_table_names())


@check()
def columns() -> Any:
    found = sa.inspect(engine).get_columns("customers")
    return [[one["name"], str(one["type"]), one["nullable"], one["comment"]] for one in found]


@check()
def reflected_table() -> Any:
    found = sa.Table("tickets", sa.MetaData(), autoload_with=engine)
    return rows(sa.select(found.c.id, found.c.subject).order_by(found.c.id).limit(3))


@check()
def has_table() -> Any:
    inspector = sa.inspect(engine)
    return inspector.has_table("orders"), inspector.has_table("nothing")


@check()
def views() -> Any:
    return sa.inspect(engine).get_view_names(schema="analytics")


@check()
def create_insert_drop() -> Any:
    metadata = sa.MetaData()
    made = sa.Table("alchemy", metadata, sa.Column("id", sa.Integer), sa.Column("note", sa.String))
    metadata.create_all(lab)
    with lab.begin() as connection:
        connection.execute(made.insert(), [{"id": 1, "note": "a"}, {"id": 2, "note": None}])
        connection.execute(made.update().where(made.c.id == 1).values(note="b"))
        found = connection.execute(sa.select(made).order_by(made.c.id)).all()
    metadata.drop_all(lab)
    return [list(row) for row in found], sa.inspect(lab).has_table("alchemy")


@check()
def syntax_error() -> Any:
    return failed("SELEC 1")


@check()
def unknown_table() -> Any:
    return failed("SELECT * FROM nothing")


@check()
def unknown_column() -> Any:
    return failed("SELECT nope FROM orders")


@check("approval")
def approval() -> Any:
    return rows(sa.text("SELECT id, ssn FROM customers WHERE id = 1"))


@check("refusal")
def denial() -> Any:
    return failed("SELECT id, ssn FROM customers WHERE id = 2")


@check("refusal")
def expiry() -> Any:
    return failed("SELECT phone FROM customers WHERE id = 3")


if __name__ == "__main__":
    main()
