"""An inbox in one SQLite file.

`store` has the SQL, `store_thread` the thread that owns the connection.
"""
