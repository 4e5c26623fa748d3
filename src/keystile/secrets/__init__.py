"""Where credentials come from. Only `upstream` and the wiring may read them."""
