"""`python -m keystile` is the `keystile` command."""

from keystile.cli import main

main()
