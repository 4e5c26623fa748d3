from __future__ import annotations

import requests
from tests.support.stack import Stack


def test_the_address_that_discovery_gives_serves_the_keys(stack: Stack) -> None:
    """Once it named another path than the one that is served, so no verifier found the keys."""
    page = f"{stack.url}/issuer/.well-known/openid-configuration"
    discovery = requests.get(page, timeout=10).json()
    assert discovery["issuer"] == f"{stack.url}/issuer"
    keys = requests.get(discovery["jwks_uri"], timeout=10).json()["keys"]
    assert keys
    assert all("d" not in key for key in keys)
