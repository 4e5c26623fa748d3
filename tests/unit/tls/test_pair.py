from __future__ import annotations

import ssl
import time
import traceback
from pathlib import Path

import pytest
from tests.support.authority import Authority

from keystile.model.errors import UnsafeConfigurationError
from keystile.tls.pair import PairFiles, read_pem


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_pair_says_when_all_of_its_chain_ends(authority: Authority) -> None:
    certificate, key = authority.write("a", ends=7200)
    short = authority.write("b", ends=3600)[0]
    certificate.write_bytes(certificate.read_bytes() + short.read_bytes())
    pair = PairFiles(certificate, key).read()
    assert abs(pair.ends - time.time() - 3600) < 60
    pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    certificate, _ = authority.write("a")
    _, key = authority.write("b")
    with pytest.raises(UnsafeConfigurationError, match=r"`.*a\.pem` and `.*b-key\.pem` are no"):
        PairFiles(certificate, key).read()


def test_an_encrypted_key_is_refused_and_no_terminal_is_asked(authority: Authority) -> None:
    files = authority.write("a", password=b"word")
    with pytest.raises(UnsafeConfigurationError, match="a key without password"):
        PairFiles(*files).read()


@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("content", [b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_pem_is_refused(authority: Authority, broken: int, content: bytes) -> None:
    files = authority.write("a")
    files[broken].write_bytes(content)
    with pytest.raises(UnsafeConfigurationError, match="are no certificate and its key"):
        PairFiles(*files).read()


@pytest.mark.parametrize(("begins", "ends"), [(-7200, -3600), (3600, 7200)])
def test_a_certificate_that_does_not_count_now_is_refused(
    authority: Authority, begins: float, ends: float
) -> None:
    files = PairFiles(*authority.write("a", begins=begins, ends=ends))
    with pytest.raises(UnsafeConfigurationError, match=r"counts from \d{4}-\d\d-\d\d to"):
        files.read()


def test_one_that_ends_while_it_is_shown_is_shown_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = authority.pair("a")
    pair = files.read()
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert files.read() is pair


def test_the_key_is_in_no_repr_and_no_error(authority: Authority) -> None:
    certificate, key = authority.write("a")
    line = key.read_text().splitlines()[1]
    assert line not in repr(PairFiles(certificate, key).read())
    key.write_text(key.read_text().replace("-----END", "x-----END"))
    with pytest.raises(UnsafeConfigurationError) as caught:
        PairFiles(certificate, key).read()
    assert line not in "".join(traceback.format_exception(caught.value))


def test_a_missing_or_empty_or_huge_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"cannot read `.*gone\.pem`: No such"):
        read_pem(tmp_path / "gone.pem")
    for content in (b"", b"x" * ((1 << 20) + 1)):
        (tmp_path / "odd.pem").write_bytes(content)
        with pytest.raises(UnsafeConfigurationError, match=r"odd\.pem` is empty or larger"):
            read_pem(tmp_path / "odd.pem")
