"""An inbox in a PostgreSQL database, which several processes can share.

`schema` has the tables and their functions, `statements` the calls of them, `storing` the call that stores rows, and
`values` what is in a row. `session` has the connection, `transactions` what is sent on it, `operations` the calls that
wait, `follower` the entries of other processes, `clock` the time of the database, and `writer` the task that uses all
that.
"""
