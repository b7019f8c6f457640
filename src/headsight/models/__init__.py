"""Models that answer questions about pictures."""
