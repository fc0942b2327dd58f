"""An inbox in one SQLite file.

`store` has the calls and `statements` their SQL, `database_file` the connection and its recovery after an error, and
`store_thread` the thread that uses them for group commits.
"""
