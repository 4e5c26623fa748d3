"""Where credentials come from. Only `upstream`, `tls` and the wiring may read them."""
