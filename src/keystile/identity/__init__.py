"""Who is asking: issuers, tokens, agents and people."""
