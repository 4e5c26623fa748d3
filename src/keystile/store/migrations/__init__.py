"""The history of the control store's tables, run by `Database.open`."""
