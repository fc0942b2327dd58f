"""The one-file program and the Debian package, as a site gets them."""
