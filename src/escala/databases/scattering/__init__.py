"""One question to all shards: what each is asked, and how their answers become one."""
