"""The history of the control store's tables, run by `Database.open`."""

HEAD = "0001"
"""The newest revision. A test holds it to the migrations themselves."""
