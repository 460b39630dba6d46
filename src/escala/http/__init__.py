"""HTTP/1.1 on both sides, streaming, strict; the response cache on top of it (RFC 9111)."""
