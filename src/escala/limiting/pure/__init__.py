"""The decisions of this chapter, with no clock, lock, loop or randomness in them."""
