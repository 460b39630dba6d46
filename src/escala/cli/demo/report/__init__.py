"""report.html: one file, drawn here, that needs no script and no network to be read."""
