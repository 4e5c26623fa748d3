"""Makes valid queries over a schema at random, with every kind of clause."""
