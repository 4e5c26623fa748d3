from __future__ import annotations

from keystile.analysis.functions import ALIASES, ALLOWED, DENIED
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import options_pb2, service
from keystile.googlesql.protos import language_options


def test_lists_are_exactly_the_engines_functions() -> None:
    engine = Engine()
    options = options_pb2.ZetaSQLBuiltinFunctionOptionsProto()
    options.language_options.CopyFrom(language_options(engine))
    answer = engine.call("GetBuiltinFunctions", options, service.GetBuiltinFunctionsResponse)
    known = {".".join(function.name_path).lower() for function in answer.function}
    aliases = {function.options.alias_name for function in answer.function} - {""}

    assert not ALLOWED & DENIED
    assert aliases - ALLOWED - DENIED == ALIASES
    assert known - ALLOWED - DENIED == set(), "new functions: put each on one of the lists"
    assert (ALLOWED | DENIED) - known == set(), "names that the engine does not know"


def test_what_reveals_the_gateway_or_handles_keys_is_denied() -> None:
    assert {"session_user", "keys.new_keyset", "aead.decrypt_string"} <= DENIED
    assert not {name for name in ALLOWED if name.startswith(("keys.", "aead.", "deterministic"))}
