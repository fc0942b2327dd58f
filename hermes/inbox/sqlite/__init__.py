"""An inbox in one SQLite file.

`store` has the calls, `statements` their SQL, and `retention` what is removed; `database_file` has the connection and
its recovery after an error, and `store_thread` the thread that uses both for group commits.
"""
