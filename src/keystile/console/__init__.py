"""The web console for people: sign in, decide on approvals, read recorded sessions."""
