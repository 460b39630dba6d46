"""A small real shop on SQLite, for `escala demo` to protect and to break."""
