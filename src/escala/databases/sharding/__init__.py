"""One database over several: whose a key is, sessions, and commits over more than one."""
