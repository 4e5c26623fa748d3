"""BigQuery's Storage Read API over gRPC, as the gateway and the sandbox both speak it.

What a table's rows are is for each of them to say: `service.Reader`. gRPC and Arrow take a second
to import, so this room is imported only where that API is served.
"""
