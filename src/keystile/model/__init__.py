"""Frozen values that every room shares. Imports nothing else of Keystile's."""
