"""Problems by RFC 9457, as data and as a response."""
