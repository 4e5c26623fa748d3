from __future__ import annotations

import socket

import pytest

from keystile import servers
from keystile.config.settings import Listener
from keystile.model.errors import UnsafeConfigurationError


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnsafeConfigurationError, match=f"cannot listen on `127.0.0.1:{port}`"):
            servers._listening(Listener(port=port))
