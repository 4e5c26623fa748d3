"""Programs that measure the product's speed. What each one prints: `bench/README.md`."""
