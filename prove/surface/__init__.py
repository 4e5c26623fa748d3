"""The proof that no request, whatever it is, breaks the gateway."""
