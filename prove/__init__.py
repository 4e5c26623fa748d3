"""Programs that prove the product's claims. `script/prove NAME` runs one."""
