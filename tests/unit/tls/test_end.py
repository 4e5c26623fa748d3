"""Handshakes in memory between what a listener and what a client of this room are."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tests.support.authority import Authority, der

from keystile.model.errors import UnsafeConfigurationError
from keystile.tls import end
from keystile.tls.pair import PairFiles


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Handshake:
    """Both sides of one connection, after the handshake and a byte each way."""

    def __init__(
        self,
        serving: ssl.SSLContext,
        asking: ssl.SSLContext,
        name: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = serving.wrap_bio(there, back, server_side=True)
        self.client = asking.wrap_bio(back, there, server_hostname=name, session=session)
        waiting = [self.client, self.server]
        for _ in range(10):
            for side in [*waiting]:
                try:
                    side.do_handshake()
                    waiting.remove(side)
                except ssl.SSLWantReadError:
                    continue
        assert not waiting
        self.server.write(b"x")
        self.client.read(1)  # and what TLS 1.3 sends after the handshake


def _trusting(authority: Authority) -> ssl.SSLContext:
    return end.client("x", None, authority.root).context


def test_a_new_pair_is_shown_to_new_connections_only(authority: Authority) -> None:
    listening = end.server("gateway", authority.pair("a"))
    serving = end.front(listening)
    first = Handshake(serving, _trusting(authority), "localhost")
    old = der(authority.folder / "a.pem")
    authority.write("a")
    assert listening.renew()
    second = Handshake(serving, _trusting(authority), "localhost")
    assert first.client.getpeercert(binary_form=True) == old
    assert second.client.getpeercert(binary_form=True) == der(authority.folder / "a.pem") != old
    assert not listening.renew()


def test_a_client_that_says_no_name_gets_the_new_one_too(authority: Authority) -> None:
    listening = end.server("gateway", authority.pair("a"))
    serving = end.front(listening)
    authority.write("a")
    listening.renew()
    asking = _trusting(authority)
    asking.check_hostname = False
    shown = Handshake(serving, asking, None).client.getpeercert(binary_form=True)
    assert shown == der(authority.folder / "a.pem")


def test_what_is_broken_leaves_all_as_it_was(authority: Authority) -> None:
    files = authority.write("a")
    listening = end.server("gateway", PairFiles(*files), authority.root)
    serving, old = end.front(listening), der(files[0])
    root = authority.root.read_bytes()
    authority.root.write_text("nothing")
    with pytest.raises(UnsafeConfigurationError, match="holds no certificates of authorities"):
        listening.renew()
    authority.root.write_bytes(root)
    authority.write("b")[1].replace(files[1])
    with pytest.raises(UnsafeConfigurationError, match="are no certificate and its key"):
        listening.renew()
    authority.root.write_bytes(root)
    asking = _trusting(authority)
    shown = Handshake(serving, asking, "localhost").client.getpeercert(binary_form=True)
    assert shown == old


def test_a_clients_certificate_is_verified_and_known(authority: Authority) -> None:
    serving = end.front(end.server("gateway", authority.pair("a"), authority.root))
    asking = end.client("x", authority.pair("me", "client"), authority.root).context
    done = Handshake(serving, asking, "localhost")
    assert done.server.getpeercert(binary_form=True) == der(authority.folder / "me.pem")


def test_a_session_brings_no_certificate_that_was_verified_long_ago(authority: Authority) -> None:
    serving = end.front(end.server("gateway", authority.pair("a"), authority.root))
    asking = end.client("x", authority.pair("me", "client"), authority.root).context
    first = Handshake(serving, asking, "localhost")
    second = Handshake(serving, asking, "localhost", first.client.session)
    assert not second.server.session_reused
    # Of TLS 1.2 the server would keep sessions itself.
    asking.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        Handshake(serving, asking, "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_without_certificates_of_clients_both_versions_are_spoken(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    serving = end.front(end.server("gateway", authority.pair("a")))
    asking = _trusting(authority)
    asking.maximum_version = version
    assert Handshake(serving, asking, "localhost").server.version()


def test_a_client_need_not_show_a_certificate(authority: Authority) -> None:
    serving = end.front(end.server("gateway", authority.pair("a"), authority.root))
    done = Handshake(serving, _trusting(authority), "localhost")
    assert done.server.getpeercert(binary_form=True) is None


def _forged(tmp_path: Path, _: Authority) -> PairFiles:
    (tmp_path / "other").mkdir()
    return Authority(tmp_path / "other").pair("me", "client")


def _servers(_: Path, authority: Authority) -> PairFiles:
    return authority.pair("me", "server")


@pytest.mark.parametrize("made", [_forged, _servers])
def test_a_clients_certificate_that_nobody_vouches_for_ends_the_connection(
    tmp_path: Path, authority: Authority, made: object
) -> None:
    serving = end.front(end.server("gateway", authority.pair("a"), authority.root))
    assert callable(made)
    asking = end.client("x", made(tmp_path, authority), authority.root).context
    with pytest.raises(ssl.SSLError):
        Handshake(serving, asking, "localhost")


def test_authorities_that_are_taken_away_vouch_for_nobody(
    tmp_path: Path, authority: Authority
) -> None:
    listening = end.server("gateway", authority.pair("a"), authority.root)
    serving = end.front(listening)
    asking = end.client("x", authority.pair("me", "client"), authority.root).context
    Handshake(serving, asking, "localhost")
    (tmp_path / "other").mkdir()
    authority.root.write_bytes(Authority(tmp_path / "other").root.read_bytes())
    listening.renew()
    with pytest.raises(ssl.SSLError):
        Handshake(serving, asking, "localhost")


def test_without_authorities_a_listener_asks_for_no_certificate(authority: Authority) -> None:
    serving = end.front(end.server("gateway", authority.pair("a")))
    asking = end.client("x", authority.pair("me", "client"), authority.root).context
    done = Handshake(serving, asking, "localhost")
    assert done.server.getpeercert(binary_form=True) is None


def _asking(authority: Authority, ciphers: str) -> ssl.SSLContext:
    context = _trusting(authority)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(ciphers)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(authority: Authority) -> None:
    serving = end.front(end.server("gateway", authority.pair("a")))
    asking = _asking(authority, "ALL:@SECLEVEL=0")
    asking.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        Handshake(serving, asking, "localhost")


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(
    authority: Authority, ciphers: str
) -> None:
    serving = end.front(end.server("gateway", authority.pair("a")))
    asking = _asking(authority, f"{ciphers}:@SECLEVEL=0")
    asking.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Handshake(serving, asking, "localhost")


def test_a_client_trusts_its_own_authorities_and_nobody_else(
    tmp_path: Path, authority: Authority
) -> None:
    serving = end.front(end.server("gateway", authority.pair("a")))
    (tmp_path / "other").mkdir()
    for other in (Authority(tmp_path / "other").root, None):
        with pytest.raises(ssl.SSLCertVerificationError):
            Handshake(serving, end.client("x", None, other).context, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Handshake(serving, _trusting(authority), "elsewhere.test")
