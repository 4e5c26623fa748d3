"""The only room that holds the Google credential and talks to BigQuery."""
