"""BigQuery's REST dialect as typed data: paths, requests, responses, errors. Pure.

The shapes come from the API's discovery document and from what the clients send.
"""
