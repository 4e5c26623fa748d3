"""The proof of `script/prove identity`: issuers, token exchange, rotation and the kill switch."""
