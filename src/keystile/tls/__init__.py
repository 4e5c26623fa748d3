"""Certificates: shown to who connects, trusted of others, and renewed while connections go on."""
