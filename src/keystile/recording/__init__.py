"""What happened, kept so that nothing is lost or altered unseen: a log and its readers."""
