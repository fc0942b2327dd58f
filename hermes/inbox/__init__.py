"""The inbox: notifications that are kept until their readers have seen them.

`inbox` has the Protocol and its values, `store` the SQL, `store_thread` the thread that owns the connection.
"""
