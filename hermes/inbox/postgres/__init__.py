"""An inbox in a PostgreSQL database, which several processes can share.

`schema` has the tables and their functions, `statements` the calls of them, `session` the connection, `writer` the task
that owns it.
"""
