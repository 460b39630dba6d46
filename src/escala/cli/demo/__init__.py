"""`escala demo`: put Escala in front of a real small shop, break things, show what was saved."""
