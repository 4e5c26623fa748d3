from __future__ import annotations

import ctypes
import gc
import resource

import pytest

from keystile.googlesql.messages import options_pb2, service, simple_catalog_pb2
from keystile.googlesql.native import (
    _ROOM,
    METHODS,
    NativeError,
    Service,
    _Object,
    _string,
)


@pytest.fixture(scope="module")
def native() -> Service:
    return Service()


@pytest.mark.parametrize("name", sorted({name for method in METHODS.values() for name in method}))
def test_no_message_is_larger_than_its_room(native: Service, name: str) -> None:
    of = _Object(native._library, name)
    ctypes.memset(of._room, 0xA5, _ROOM)
    with of:
        untouched = of._room.raw[1000:]
    assert untouched == b"\xa5" * (_ROOM - 1000)


def test_the_service_is_no_larger_than_its_room(native: Service) -> None:
    room = ctypes.create_string_buffer(b"\xa5" * _ROOM, _ROOM)
    make = native._function(
        "_ZN7zetasql13local_service23ZetaSqlLocalServiceImplC1Ev", ctypes.c_void_p
    )
    make(ctypes.addressof(room))
    assert room.raw[1000:] == b"\xa5" * (_ROOM - 1000)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select 1 from", "Syntax error: Unexpected end of statement [at 1:14]"),
        ("select\n 'a", "Syntax error: Unclosed string literal [at 2:2]"),
        ("x" * 40, None),
        ("select '\\q'", "Illegal escape sequence: \\q [at 1:9]"),
    ],
)
def test_an_error_is_the_engines_words_and_the_place(
    native: Service, sql: str, says: str | None
) -> None:
    request = service.ParseRequest(sql_statement=sql)
    with pytest.raises(NativeError) as caught:
        native.call("Parse", request.SerializeToString())
    if says is None:
        assert caught.value.text.startswith("Syntax error:")
    else:
        assert caught.value.text.endswith(says)


@pytest.mark.parametrize(("code", "name"), [(11, "OUT_OF_RANGE"), (8, "RESOURCE_EXHAUSTED")])
def test_an_error_of_a_code_alone_does_not_end_the_process(
    native: Service, code: int, name: str
) -> None:
    status = ctypes.create_string_buffer((code << 2 | 1).to_bytes(8, "little"), 8)
    with pytest.raises(NativeError, match=name):
        native._check(status)


def test_an_answer_that_was_not_written_whole_is_none(
    native: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = service.ParseRequest(sql_statement="select 1").SerializeToString()
    assert native.call("Parse", request)
    monkeypatch.setattr(native, "_serialize", lambda *_: False)
    with pytest.raises(NativeError, match="too large"):
        native.call("Parse", request)


def test_errors_leave_nothing_behind(native: Service) -> None:
    name = "x" * 100_000
    request = service.AnalyzeRequest(sql_statement=f"select {name}")
    request.simple_catalog.name = "root"
    asked = request.SerializeToString()

    def held() -> int:
        for _ in range(200):
            with pytest.raises(NativeError, match=name):
                native.call("Analyze", asked)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    held()
    before = held()
    assert held() - before < 4 << 10  # KiB; the texts of these errors are 20 MB


def test_bytes_that_are_no_request_are_an_error(native: Service) -> None:
    with pytest.raises(NativeError, match="cannot read"):
        native.call("Parse", b"\xff\xff")


def test_short_and_long_answers_come_whole(native: Service) -> None:
    for terms in (1, 5_000):
        sql = f"select {', '.join(['1'] * terms)}"
        request = service.ParseRequest(sql_statement=sql)
        answer = native.call("Parse", request.SerializeToString())
        tree = service.ParseResponse.FromString(answer).parsed_statement
        select = tree.ast_query_statement_node.query.query_expr.ast_select_node
        assert len(select.select_list.columns) == terms
    empty = ctypes.create_string_buffer(24)
    assert _string(ctypes.addressof(empty)) == b""


def test_each_service_has_catalogs_of_its_own(native: Service) -> None:
    catalog = simple_catalog_pb2.SimpleCatalogProto(name="root")
    request = service.RegisterCatalogRequest(simple_catalog=catalog).SerializeToString()
    answer = service.RegisterResponse.FromString(native.call("RegisterCatalog", request))
    native.unregister_catalog(answer.registered_id)
    with pytest.raises(NativeError, match="nknown"):
        native.unregister_catalog(answer.registered_id)


def test_services_that_nobody_holds_are_ended() -> None:
    for _ in range(50):
        Service()
    gc.collect()
    assert Service().call("GetLanguageOptions", b"")


def test_the_engine_logs_no_query_and_no_value(
    native: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    options = options_pb2.LanguageOptionsProto.FromString(
        native.call(
            "GetLanguageOptions",
            service.LanguageOptionsRequest(maximum_features=True).SerializeToString(),
        )
    )
    catalog = simple_catalog_pb2.SimpleCatalogProto(name="root")
    catalog.builtin_function_options.language_options.CopyFrom(options)
    request = service.EvaluateQueryRequest(
        sql="select iserror(1 / 0), iserror(date_from_unix_date(424242424242))"
    )
    request.simple_catalog.CopyFrom(catalog)
    native.call("EvaluateQuery", request.SerializeToString())
    assert capfd.readouterr().err == ""
